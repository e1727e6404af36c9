"""Where a flow looks: onto the character, along its rim, or beside it."""

import torch

from anamodiff.creatures.skeleton import JOINTS
from anamodiff.lofnet.silhouette import Silhouette, limb_lines, without_specks
from anamodiff.warp import identity_grid, warp


def blob(size: int = 64) -> torch.Tensor:
    """A foreground with a broad body and a leg one pixel wide."""
    foreground = torch.zeros(size, size, dtype=torch.bool)
    foreground[20:34, 10:50] = True
    foreground[34:50, 30] = True
    return foreground


def test_specks_go_and_severed_parts_stay() -> None:
    masks = torch.zeros(3, 40, 40, dtype=torch.bool)
    masks[:2, 5:25, 5:35] = True  # 600 cells
    masks[0, 30, 30], masks[0, 35, 2:7] = True, True
    masks[1, 26:29, 10:13] = True
    wanted = masks.clone()
    wanted[0, 30:] = False
    assert torch.equal(without_specks(masks), wanted), "one frame's alone, and none of an empty one"


def test_a_flow_within_the_character_stays() -> None:
    identity = identity_grid(64, 64)[None]
    led = Silhouette(blob()).onto_character(identity)
    torch.testing.assert_close(led[:, 22:32, 12:48], identity[:, 22:32, 12:48])
    torch.testing.assert_close(led[:, 36:48, 30], identity[:, 36:48, 30])  # the thin leg's middle
    away = led[0, 40, 34]
    torch.testing.assert_close(away, identity[0, 40, 30])


def test_the_background_flow_shows_no_character() -> None:
    flow = Silhouette(blob()).off_character((64, 64))
    assert warp(blob()[None, None].float(), flow).max() == 0
    away = ~torch.nn.functional.max_pool2d(blob()[None].float(), 3, 1, 1).bool()
    torch.testing.assert_close(flow[away], identity_grid(64, 64)[None][away])
    shifted = (flow[0, 27, 30] - identity_grid(64, 64)[27, 30]).norm()
    assert shifted < 10 * 2 / 63  # the nearest, not any


def test_on_coarse_latents_the_background_flow_avoids_all_the_character_touches() -> None:
    flow = Silhouette(blob()).off_character((16, 16))
    covered = torch.nn.functional.max_pool2d(blob()[None, None].float(), 4)
    assert warp(covered, flow).max() == 0


def test_a_frame_that_is_all_character_has_no_background() -> None:
    whole = torch.ones(8, 8, dtype=torch.bool)
    torch.testing.assert_close(Silhouette(whole).off_character((8, 8))[0], identity_grid(8, 8))


def test_a_frame_without_a_character_leaves_the_flow() -> None:
    flow = identity_grid(8, 8)[None]
    assert Silhouette(torch.zeros(8, 8, dtype=torch.bool)).onto_character(flow) is flow


def test_outlines_are_looked_up_along_the_rim() -> None:
    """A disc with a dark outline, on a larger disc: the outline is at its rim, too, all round."""
    y, x = torch.meshgrid(torch.arange(128), torch.arange(128), indexing="ij")
    radius = ((x - 63.5) ** 2 + (y - 63.5) ** 2).sqrt()
    source, target = radius < 40, radius < 44
    dark = ((radius < 40) & (radius > 37)).float()[None, None]
    identity = identity_grid(128, 128)[None]
    led = Silhouette(source).along_rim(identity, target[None])
    rim = (radius < 43.6) & (radius > 42.6)
    assert warp(dark, led)[0, 0][rim].mean() > 0.9
    assert warp(dark, identity)[0, 0][rim].max() == 0
    middle = radius < 30
    torch.testing.assert_close(led[0][middle], identity[0][middle])


def test_bones_of_limbs_are_lines_and_others_are_not() -> None:
    joints = torch.full((2, len(JOINTS), 2), torch.nan)
    joints[0, JOINTS.index("near_wrist")] = torch.tensor([0.0, 0.0])
    joints[0, JOINTS.index("near_front_foot")] = torch.tensor([0.0, 0.5])
    joints[:, JOINTS.index("tail_base")], joints[:, JOINTS.index("tail_tip")] = -0.5, -0.9
    lines = limb_lines(joints, (129, 129))
    assert lines.shape == (2, 129, 129) and not lines[1].any()
    assert lines[0, 64:96, 64].all() and not lines[0, :60].any()
    assert lines[0, 80].sum() <= 3
