"""A character's foreground is the same on every plain ground, its own colour's too."""

from io import BytesIO
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from anamodiff import creatures
from anamodiff.creatures.ground import on_ground
from anamodiff.matting.network import MatteNetwork
from anamodiff.run.grounds import Subject, cut_clip
from anamodiff.run.plain_grounds import canonical_foreground
from anamodiff.video.clip import Clip
from anamodiff.video.foreground import foreground_mask
from anamodiff.video.letterbox import from_pixels

GROUNDS = {
    "white": (255, 255, 255), "black": (0, 0, 0), "green screen": (0, 177, 64),
    "grey": (128, 128, 128), "sky": (135, 206, 235), "red": (200, 30, 30), "navy": (10, 20, 80),
    "magenta": (255, 0, 255), "dark grey": (50, 50, 50),
}  # fmt: skip
#: Some have the colour of a ground, but for a little.
CHARACTERS: dict[str, dict[str, Any]] = {
    "grey rabbit": {"outline": False, "belly": True}, "red rhino": {"outline": False},
    "black elephant": {"silhouette": True, "outline": False}, "blue dog": {"belly": True},
    "white sheep": {"outline": True},
}  # fmt: skip


def no_network() -> MatteNetwork:
    raise AssertionError("plain grounds need no network")


def drawn(name: str) -> creatures.Drawn:
    colour, species = name.split()
    character = creatures.Character(species, colour, scale=0.9, **CHARACTERS[name])
    return creatures.draw(character, "walk", frames=2)


def foreground(subject: Subject) -> Tensor:
    if subject.foreground is None:
        return foreground_mask(subject.clip.frames, thin=True)
    return subject.foreground


def overlap(one: Tensor, other: Tensor) -> float:
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize("name", CHARACTERS)
def test_foregrounds_agree_on_nine_grounds(name: str) -> None:
    made = drawn(name)
    alpha = torch.from_numpy(made.coverage / np.float32(255))
    expected = canonical_foreground(from_pixels(made.frames), alpha)
    found = {}
    for ground, colour in GROUNDS.items():
        clip = Clip.of(from_pixels(on_ground(made, colour)))
        found[ground] = overlap(foreground(cut_clip(clip, None, no_network, "source")), expected)
    # Of black on black and nearly black the soft edges are not seen: half a pixel all around.
    low = {ground: value for ground, value in found.items() if value < 0.95}
    assert set(low) <= {"black", "dark grey"} and min(found.values()) > 0.9, found


def compressed(picture: np.ndarray) -> np.ndarray:
    coded = BytesIO()
    Image.fromarray(picture).resize((256, 256)).save(coded, "jpeg", quality=80)
    return np.asarray(Image.open(coded).resize((128, 128), Image.Resampling.BOX))


def test_on_a_compressed_clip_the_network_says_whether_faint_parts_count() -> None:
    made = drawn("grey rabbit")
    seen = [compressed(picture) for picture in on_ground(made, GROUNDS["grey"])]
    clip, truth = Clip.of(from_pixels(np.stack(seen))), torch.from_numpy(made.coverage > 127)
    found = {}
    for agrees in (True, False):
        network = MatteNetwork()
        network.saliency = lambda frames, agrees=agrees: (truth if agrees else ~truth).float()  # pyright: ignore
        found[agrees] = overlap(
            cut_clip(clip, None, lambda network=network: network, "source").mattes >= 0.5, truth
        )
    assert found[True] > 0.85 and found[False] < 0.6, found


def test_a_compressed_screen_leaves_no_rim() -> None:
    made = creatures.draw(
        creatures.Character("rabbit", "grey", outline=False), "walk", frames=1, size=256
    )
    coded = BytesIO()
    Image.fromarray(on_ground(made, GROUNDS["green screen"])[0]).save(coded, "jpeg", quality=80)
    clip = Clip.of(from_pixels(np.asarray(Image.open(coded))[None].copy()))
    found, truth = cut_clip(clip, None, no_network, "source"), made.coverage > 127
    assert overlap(found.mattes >= 0.5, torch.from_numpy(truth)) > 0.95
    red, green, blue = found.clip.frames[0]
    spill = (green - torch.maximum(red, blue))[foreground(found)[0]]
    assert (spill > 0.2).float().mean() < 0.03


@pytest.mark.parametrize("colour", [(10, 20, 80), (50, 50, 50)])
def test_noise_is_no_texture(colour) -> None:
    made = drawn("blue dog")
    noise = np.random.default_rng(0).normal(0, 4, made.frames.shape)
    seen = (on_ground(made, colour) + noise).round().clip(0, 255).astype(np.uint8)
    found = cut_clip(Clip.of(from_pixels(seen)), None, no_network, "source")
    assert overlap(found.mattes >= 0.5, torch.from_numpy(made.coverage > 127)) > 0.9


def test_a_belly_that_is_white_is_the_character_s_where_the_network_says_so(caplog) -> None:
    caplog.set_level("INFO")
    frame = np.full((1, 96, 96, 3), 255, np.uint8)
    frame[:, 20:70, 20:70] = 40
    frame[:, 28:62, 28:62] = 255
    clip = Clip.of(from_pixels(frame))
    network = MatteNetwork()
    for saliency in (1.0, 0.0):
        network.saliency = lambda frames, s=saliency: torch.full(frames[:, 0].shape, s)  # pyright: ignore
        subject = cut_clip(clip, None, lambda: network, "source")
        assert bool(foreground(subject)[0, 45, 45]) == bool(saliency)
        assert subject.clip is clip
    assert caplog.text.count("where a network finds it so") == 2
