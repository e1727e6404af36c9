"""Drawn, articulated characters whose every joint and outline is known.

They are the examples, the tests and part of the training data: any species performs any motion,
at any size, with masks and joints, so that the answer to a motion transfer is known.
"""

from .character import COLOURS, MOTIONS, PATTERNS, SPECIES, Character, motions_of
from .paint import Drawn, draw
from .pair import Pair, draw_pair

__all__ = [
    "COLOURS",
    "MOTIONS",
    "PATTERNS",
    "SPECIES",
    "Character",
    "Drawn",
    "Pair",
    "draw",
    "draw_pair",
    "motions_of",
]
