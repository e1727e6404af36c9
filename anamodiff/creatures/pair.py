"""Pairs with a known answer: one character's own motion, another's motion, and both together."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from anamodiff.creatures.character import SPECIES, Character
from anamodiff.creatures.motion import COMMON, STARTS_STANDING
from anamodiff.creatures.paint import Drawn, draw
from anamodiff.creatures.species import VERTEBRATES
from anamodiff.options import FRAMES

StartPose = Literal["similar", "different"]
CANDIDATE_PHASES = 24
# What has legs can take any gait; the others are paired only when asked for.
LEGGED = tuple(s for s in SPECIES if s in VERTEBRATES or s.startswith("letter"))


@dataclass(frozen=True)
class Pair:
    """Source and driving clip, and the truth: the source character in the driving motion."""

    source: Drawn
    driving: Drawn
    truth: Drawn
    source_character: Character
    driving_character: Character
    motion: str
    source_motion: str

    @property
    def source_caption(self) -> str:
        """The source character's caption."""
        return self.source_character.caption

    @property
    def driving_caption(self) -> str:
        """The driving character's caption."""
        return self.driving_character.caption


def draw_pair(
    seed: int,
    *,
    source_species: str | None = None,
    driving_species: str | None = None,
    motion: str | None = None,
    source_motion: str | None = "idle",
    start: StartPose = "similar",
    frames: int = FRAMES,
    size: int = 128,
) -> Pair:
    """A benchmark pair from one seed; what is given stays as given, `None` is random.

    Both characters face the same way. Standing motions begin at phase 0; the source's cycle begins
    where its joints come nearest to the truth's first frame, or with `start` ``different`` where
    they are furthest from it.
    """
    lot = np.random.default_rng([seed, 2])
    picks = [str(lot.choice(LEGGED)) for _ in range(2)]
    motion_pick, source_pick = str(lot.choice(COMMON)), str(lot.choice(COMMON))
    phase_pick, facing = float(lot.random()), str(lot.choice(["right", "left"]))
    source = Character.sample(2 * seed, species=source_species or picks[0], facing=facing)
    driving = Character.sample(2 * seed + 1, species=driving_species or picks[1], facing=facing)
    motion, source_motion = motion or motion_pick, source_motion or source_pick
    phase = 0.0 if motion in STARTS_STANDING else phase_pick
    truth = draw(source, motion, frames=frames, size=size, phase=phase)
    begin = nearest_phase(source, source_motion, truth.joints[0], furthest=start == "different")
    return Pair(
        source=draw(source, source_motion, frames=frames, size=size, phase=begin),
        driving=draw(driving, motion, frames=frames, size=size, phase=phase),
        truth=truth,
        source_character=source,
        driving_character=driving,
        motion=motion,
        source_motion=source_motion,
    )


def nearest_phase(
    character: Character, motion: str, joints: np.ndarray, *, furthest: bool = False
) -> float:
    """The phase of a motion whose joints are nearest to the given ones (`j 2`), or furthest."""
    tried = draw(replace(character, silhouette=True), motion, frames=CANDIDATE_PHASES, size=16)
    distance = ((tried.joints - joints) ** 2).sum(axis=(1, 2))
    chosen = np.argmax(distance) if furthest else np.argmin(distance)
    return float(chosen) / CANDIDATE_PHASES
