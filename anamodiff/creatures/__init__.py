"""Drawn, articulated characters whose every joint and outline is known.

They are the examples, the tests and part of the training data: any species performs any motion,
at any size, with masks and joints, so that the answer to a motion transfer is known.
"""

from anamodiff.creatures.character import COLOURS, MOTIONS, PATTERNS, SPECIES, Character, motions_of
from anamodiff.creatures.hybrid import hybrid
from anamodiff.creatures.paint import Drawn, draw
from anamodiff.creatures.pair import Pair, draw_pair
from anamodiff.creatures.skeleton import ABSENT, HIDDEN, JOINTS, SEEN

__all__ = [
    "ABSENT",
    "COLOURS",
    "HIDDEN",
    "JOINTS",
    "MOTIONS",
    "PATTERNS",
    "SEEN",
    "SPECIES",
    "Character",
    "Drawn",
    "Pair",
    "draw",
    "draw_pair",
    "hybrid",
    "motions_of",
]
