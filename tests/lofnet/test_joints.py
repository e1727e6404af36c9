"""The joint detector: shapes, reading of heat maps, files."""

import pytest
import torch

from anamodiff.creatures import JOINTS
from anamodiff.errors import AnaMoDiffError
from anamodiff.lofnet.heat import mean_place, peak_place, probabilities
from anamodiff.lofnet.joints import JointDetector, Joints, read_joints
from anamodiff.warp import identity_grid


@pytest.fixture(scope="module")
def tiny() -> JointDetector:
    torch.manual_seed(0)
    return JointDetector((4, 8, 8, 8, 8), 1, 2).eval()


def peaks(*places: tuple[float, float], size: int = 64) -> torch.Tensor:
    """Heat map logits `1 1 h w` with narrow peaks at places in [-1, 1]."""
    grid = identity_grid(size, size)
    each = [-((grid - torch.tensor(p)) ** 2).sum(-1) / (2 * 0.04**2) for p in places]
    return torch.logsumexp(torch.stack(each), 0)[None, None]


def test_any_size_of_frame(tiny: JointDetector) -> None:
    for height, width in ((256, 256), (128, 128), (200, 320)):
        found = tiny.detect(torch.rand(3, 3, height, width) * 2 - 1, batch=2)
        assert found.place.shape == (3, 22, 2) and found.place.abs().max() <= 1
        assert found.confidence.shape == (3, 22)
        assert found.presence.shape == (3, 22, 3)
        torch.testing.assert_close(found.presence.sum(-1), torch.ones(3, 22))


def test_the_same_picture_at_another_size_has_the_same_joints(tiny: JointDetector) -> None:
    smooth = torch.nn.functional.interpolate(torch.rand(1, 3, 6, 6), (512, 512), mode="bicubic")
    half = torch.nn.functional.interpolate(smooth, (256, 256), mode="bilinear", antialias=True)
    large, small = (tiny.detect(x * 2 - 1) for x in (smooth, half))
    torch.testing.assert_close(large.place, small.place, atol=1e-4, rtol=0)


def test_sixteen_bits_find_the_same_joints(tiny: JointDetector) -> None:
    frames = torch.nn.functional.interpolate(torch.rand(2, 3, 8, 8), (256, 256)) * 2 - 1
    exact, rough = tiny.detect(frames), tiny.detect(frames, precision=torch.bfloat16)
    assert rough.place.dtype == torch.float32
    torch.testing.assert_close(rough.presence, exact.presence, atol=0.02, rtol=0)


def test_maps_have_64_cells_a_side(tiny: JointDetector) -> None:
    maps = tiny(torch.zeros(2, 3, 256, 256))
    assert maps.heat.shape == (2, len(JOINTS), 64, 64)
    assert maps.presence.shape == (2, 22, 3) and maps.confidence.shape == (2, 22)


@pytest.mark.parametrize("place", [(0.3, -0.5), (-0.81, 0.77), (0.0, 0.0)])
def test_a_peak_is_read_between_the_cells(place: tuple[float, float]) -> None:
    share = probabilities(peaks(place))
    for read in (mean_place, peak_place):
        torch.testing.assert_close(read(share)[0, 0], torch.tensor(place), atol=3e-3, rtol=0)


def test_of_two_peaks_the_higher_one_is_read() -> None:
    """The mean of a doubtful map lies between its peaks, where there is no joint."""
    heat = torch.logaddexp(peaks((-0.5, 0.2)), peaks((0.5, 0.2)) - 0.3)
    share = probabilities(heat)
    assert mean_place(share)[0, 0, 0].abs() < 0.2
    torch.testing.assert_close(
        peak_place(share)[0, 0], torch.tensor([-0.5, 0.2]), atol=0.01, rtol=0
    )


def test_files_give_the_same_detector(tiny: JointDetector, tmp_path) -> None:
    tiny.save(tmp_path / "joints")
    loaded = JointDetector.load(tmp_path / "joints.safetensors")
    frames = torch.rand(2, 3, 256, 256) * 2 - 1
    assert not loaded.training
    torch.testing.assert_close(loaded.detect(frames).place, tiny.detect(frames).place)


def test_default_weights_are_small_enough(tmp_path) -> None:
    JointDetector().save(tmp_path / "joints", half=True)
    assert (tmp_path / "joints.safetensors").stat().st_size < 12 * 2**20


def test_mistakes_are_named(tiny: JointDetector, tmp_path) -> None:
    with pytest.raises(AnaMoDiffError, match="missing"):
        JointDetector.load(tmp_path / "none")
    tiny.save(tmp_path / "joints")
    JointDetector((4, 8, 8, 8, 16), 1, 2).save(tmp_path / "other")
    (tmp_path / "joints.json").write_text((tmp_path / "other.json").read_text())
    with pytest.raises(AnaMoDiffError, match="fit"):
        JointDetector.load(tmp_path / "joints")


def test_answers_do_not_move_the_heat(tiny: JointDetector) -> None:
    """Presence and confidence learn from the maps without bending them."""
    maps = tiny(torch.rand(1, 3, 256, 256))
    grads = torch.autograd.grad(maps.presence.sum(), tiny.heat.weight, allow_unused=True)
    assert grads[0] is None
    assert read_joints(maps).confidence.max() <= 1


def test_trust_is_a_matter_of_the_whole_clip() -> None:
    """One frame's doubt does not make a joint absent; without a trunk there is no certainty."""
    presence = torch.tensor([0.1, 0.1, 0.8]).repeat(4, 22, 1)
    presence[0, 3] = torch.tensor([0.9, 0.1, 0.0])
    presence[:, 7] = torch.tensor([0.9, 0.1, 0.0])
    joints = Joints(torch.zeros(4, 22, 2), torch.full((4, 22), 0.6), presence)
    trust = joints.trust()
    assert (trust[:, 7] == 0).all() and (trust[:, 3] > 0.5).all()
    assert joints.certainty() == pytest.approx(0.6)
    presence[:, :6] = torch.tensor([0.9, 0.1, 0.0])
    assert Joints(joints.place, joints.confidence, presence).certainty() == 0
