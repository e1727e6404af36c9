"""Sets of drawn pairs: which character is moved as which other one moves, from one seed each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from anamodiff import creatures
from anamodiff.creatures.pair import Pair, StartPose

#: The paper moves ten sources by five motions each.
DRAWN_MOTIONS = ("walk", "gallop", "jump", "graze", "rear")
DRAWN_SOURCES = (
    "turtle", "cat", "elephant", "horse", "rabbit", "giraffe", "pig", "crocodile", "camel",
    "letter m",
)  # fmt: skip
DRAWN_DRIVING = (
    "rhino", "dog", "cow", "lion", "giraffe", "horse", "cat", "elephant", "rabbit", "fox",
)  # fmt: skip
FIRST_SEED = 7000
LETTERS = ("letter m", "letter n", "letter h", "letter a", "letter x", "letter k")
LETTER_MOTIONS = ("walk", "gallop", "jump")
FLAGS = 6
FIRST_SIGN_SEED = 8000
#: The set whose clips are filmed on textured grounds.
OUTDOORS = "creatures-outdoors"
#: What has no skeleton: letters moved by animals, and flags by other flags.
SIGNS = "letters-and-flags"
#: Names of the sets, and how the first poses of source and driving clip compare.
DRAWN_SETS: dict[str, StartPose] = {
    "creatures": "similar", "creatures-apart": "different", OUTDOORS: "similar", SIGNS: "similar",
}  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """A pair that is to be drawn; `number` is its place in the set."""

    number: int
    name: str
    seed: int
    source: str
    driving: str
    motion: str
    source_motion: str
    start: StartPose

    def draw(self) -> Pair:
        """Source, driving clip and truth."""
        return creatures.draw_pair(
            self.seed, source_species=self.source, driving_species=self.driving,
            motion=self.motion, source_motion=self.source_motion, start=self.start,
        )  # fmt: skip


def plans(name: str) -> list[Plan]:
    """The pairs of one of the `DRAWN_SETS`.

    Fifty of creatures: ten sources by five motions, each driven by another species. Where starts
    are ``similar`` the source stands, so that it never shows the motion; where ``different``, it
    moves in another way, and starts in the pose that is furthest from the truth's first one. 24 of
    letters and flags: six letters by three motions of animals, and six flags that wave as others.
    """
    return list(_signs() if name == SIGNS else _animals(DRAWN_SETS[name]))


def _animals(start: StartPose) -> Iterator[Plan]:
    for number, (motion, species) in enumerate(product(DRAWN_MOTIONS, DRAWN_SOURCES)):
        driver = DRAWN_DRIVING[(number + number // len(DRAWN_SOURCES)) % len(DRAWN_DRIVING)]
        if driver == species:
            driver = DRAWN_DRIVING[(DRAWN_DRIVING.index(driver) + 3) % len(DRAWN_DRIVING)]
        other = DRAWN_MOTIONS[(DRAWN_MOTIONS.index(motion) + 1 + number % 4) % len(DRAWN_MOTIONS)]
        yield Plan(
            number, f"{species}-{driver}-{motion}".replace(" ", "_"), FIRST_SEED + number, species,
            driver, motion, "idle" if start == "similar" else other, start,
        )  # fmt: skip


def _signs() -> Iterator[Plan]:
    number = 0
    for motion, letter in product(LETTER_MOTIONS, LETTERS):
        driver = DRAWN_DRIVING[number % len(DRAWN_DRIVING)]
        name = f"{letter}-{driver}-{motion}".replace(" ", "_")
        yield Plan(
            number, name, FIRST_SIGN_SEED + number, letter, driver, motion, "idle", "similar"
        )
        number += 1
    for flag in range(FLAGS):
        yield Plan(
            number, f"flag-flag-wave-{flag + 1}", FIRST_SIGN_SEED + number, "flag", "flag", "wave",
            "idle", "similar",
        )  # fmt: skip
        number += 1
