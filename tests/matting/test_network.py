"""The matte network gives what its authors' weights give, and finds characters on textures."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from anamodiff import creatures
from anamodiff.creatures.ground import MORTAR, draw_ground, on_ground, outdoors
from anamodiff.errors import AnaMoDiffError
from anamodiff.matting.checks import box_of
from anamodiff.matting.cutout import matte_of
from anamodiff.matting.network import FILE, FOLDER, MatteNetwork
from anamodiff.matting.refine import refine_saliency
from anamodiff.resources import find
from anamodiff.video.letterbox import from_pixels

GOLDEN = Path(__file__).parents[1] / "golden" / "u2netp.safetensors"


@pytest.fixture(scope="module")
def network() -> MatteNetwork:
    return MatteNetwork.load(find(FOLDER))


def picture(side: int = 320) -> torch.Tensor:
    """A normalised picture from a formula: a disc on stripes, ``1 3 h w``."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, side), torch.linspace(-1, 1, side), indexing="ij")
    inside = ((0.45 - (x**2 + 1.5 * y**2).sqrt()) * 40).sigmoid()
    stripes = 0.5 + 0.3 * torch.sin(9 * x + 4 * y)
    disc = torch.stack([1.6 - 0.4 * y, -0.9 + 0.2 * x, -1.2 + 0 * x])
    ground = torch.stack([stripes - 0.6, 0.9 * stripes, 0.4 * stripes - 0.3])
    return (inside * disc + (1 - inside) * ground)[None]


def test_output_is_that_of_the_published_weights(network: MatteNetwork) -> None:
    # The golden numbers are ONNX Runtime's, from the 32-bit weights; ours have 16 bits.
    expected = load_file(GOLDEN)["saliency"].float()
    with torch.no_grad():
        found = network(picture()).sigmoid()[0, 0, ::4, ::4]
    assert (found - expected).abs().mean() < 0.002
    assert (found - expected).abs().max() < 0.1
    assert expected.amin() < 0.05 and expected.amax() > 0.95


def test_a_character_is_found_on_grass_whatever_the_clip_s_size(network: MatteNetwork) -> None:
    character = creatures.Character.sample(101, species="rabbit")
    drawn = creatures.draw(character, "walk", frames=2, size=96)
    frames = from_pixels(outdoors(drawn, "grass", 3, drift=0.0))
    matte = matte_of(network.saliency(frames))
    first = (frames.shape[-1] - 96) // 2
    truth = np.zeros(matte.shape, bool)
    truth[:, first : first + 96, first : first + 96] = drawn.coverage > 127
    own = matte.numpy() > 0.5
    assert (own & truth).sum() / (own | truth).sum() > 0.85
    assert matte.min() == 0 and matte.max() == 1


def test_missing_and_foreign_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(AnaMoDiffError, match="--matte none"):
        MatteNetwork.load(tmp_path)
    (tmp_path / FILE).write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    with pytest.raises(AnaMoDiffError, match="install AnaMoDiff again"):
        MatteNetwork.load(tmp_path)


@pytest.mark.parametrize("kind", ["brick", "sand"])
def test_colours_tell_what_the_network_overlooks(kind) -> None:
    """A saliency that lacks feet and head, and has a stripe of ground, is completed by colours."""
    drawn = creatures.draw(creatures.Character.sample(101, species="rabbit"), "walk", frames=2)
    truth = torch.from_numpy(drawn.coverage > 127)
    frames = from_pixels(on_ground(drawn, draw_ground(kind, 128, 128, 1)))
    top, left, height, width = box_of(truth)
    rows, columns = torch.arange(128).view(1, -1, 1), torch.arange(128).view(1, 1, -1)
    middle = truth & (rows < top + 0.8 * height) & (columns > left + 0.15 * width)
    wrong = ~truth & (rows > top + height - 12) & (rows < top + height - 6)
    saliency = 0.05 + 0.9 * middle.float() + 0.5 * wrong.float()
    before, after = saliency > 0.5, refine_saliency(saliency, frames) > 0.5

    def overlap(found: torch.Tensor) -> float:
        return float((found & truth).sum() / (found | truth).sum())

    assert overlap(before) < 0.8
    assert overlap(after) > overlap(before) + 0.1


def test_thin_lines_of_the_ground_are_not_the_character_s() -> None:
    """Mortar that stands out with a character has none of the colours deep inside of it."""
    drawn = creatures.draw(creatures.Character.sample(101, species="rabbit"), "walk", frames=2)
    truth = torch.from_numpy(drawn.coverage > 127)
    picture = draw_ground("brick", 128, 128, 1)
    frames = from_pixels(on_ground(drawn, picture))
    mortar = torch.from_numpy((picture == MORTAR).all(-1)) & ~truth
    near = mortar & (torch.arange(128) > 40) & (torch.arange(128)[:, None] > 50)
    saliency = 0.05 + 0.9 * (truth | near).float()
    after = refine_saliency(saliency, frames) > 0.5
    assert near.float().mean() > 0.05
    assert (after & near).float().sum() < 0.35 * near.float().sum()
    assert (after & truth).float().sum() > 0.9 * truth.float().sum()
