"""Who a character is: species, colours, looks and proportions, all from one seed."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from anamodiff.creatures.figure import Figure, Look
from anamodiff.creatures.motion import COMMON, POSES
from anamodiff.creatures.others import OTHERS
from anamodiff.creatures.pose import Pose
from anamodiff.creatures.species import VERTEBRATES, Build
from anamodiff.creatures.vertebrate import vertebrate
from anamodiff.errors import AnaMoDiffError

Rgb = tuple[int, int, int]

SPECIES: tuple[str, ...] = (*VERTEBRATES, *OTHERS)
MOTIONS: tuple[str, ...] = tuple(POSES)
COLOURS: dict[str, Rgb] = {
    "red": (214, 48, 42),
    "orange": (240, 138, 36),
    "yellow": (245, 208, 56),
    "green": (72, 160, 66),
    "blue": (58, 108, 214),
    "purple": (132, 72, 178),
    "pink": (242, 140, 178),
    "brown": (132, 82, 44),
    "grey": (136, 138, 142),
    "black": (42, 42, 48),
    "white": (246, 246, 244),
    "tan": (214, 178, 128),
}
PATTERNS = ("plain", "spots", "stripes")
WHITE: Rgb = (255, 255, 255)
NATURAL = {
    "turtle": "green", "crocodile": "green", "elephant": "grey", "rhino": "grey", "horse": "brown",
    "giraffe": "yellow", "pig": "pink", "camel": "tan", "lion": "orange", "fox": "orange",
    "bear": "brown", "penguin": "black", "dinosaur": "green", "sheep": "white", "deer": "brown",
}  # fmt: skip


@dataclass(frozen=True)
class Character:
    """One drawn character; equal characters are drawn equally, to the pixel.

    `tint` is added to the colour (RGB, 0 to 255); `proportions` multiply the lengths of legs and
    neck, the girth, the head and the tail; `scale` is the share of the largest possible size;
    `offset` moves the figure within the room that is left, each in [-1, 1]; `build` is a body of
    its own for an animal with a spine, with as many legs as its species has.
    """

    species: str
    colour: str
    pattern: str = "plain"
    second_colour: str | None = None
    shading: str = "flat"
    belly: bool = False
    outline: bool = True
    silhouette: bool = False
    facing: str = "right"
    background: Rgb = WHITE
    tint: Rgb = (0, 0, 0)
    scale: float = 1.0
    proportions: tuple[float, float, float, float, float] = (1.0, 1.0, 1.0, 1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)
    pattern_seed: int = 0
    build: Build | None = None

    def __post_init__(self) -> None:
        _one_of("species", self.species, SPECIES)
        _one_of("colour", self.colour, COLOURS)
        _one_of("second colour", self.second_colour, (None, *COLOURS))
        _one_of("pattern", self.pattern, PATTERNS)
        _one_of("shading", self.shading, ("flat", "shaded"))
        _one_of("facing", self.facing, ("right", "left"))

    @classmethod
    def sample(
        cls,
        seed: int,
        *,
        species: str | None = None,
        colour: str | None = None,
        facing: str | None = None,
        background: Rgb | None = None,
        pattern: str | None = None,
        silhouette: bool | None = None,
    ) -> "Character":
        """A random character of `seed`; what is given stays as given.

        Raises `AnaMoDiffError` for a species, colour, pattern or side that does not exist.
        """
        draw = np.random.default_rng([seed, 1])
        lots = draw.random(8)
        pick = {
            "species": str(draw.choice(SPECIES)),
            "colour": str(draw.choice(list(COLOURS))),
            "second": str(draw.choice(list(COLOURS))),
            "pattern": str(draw.choice(PATTERNS, p=[0.6, 0.22, 0.18])),
        }
        species = species or pick["species"]
        if lots[0] < 0.15:
            pick["colour"] = NATURAL.get(species, pick["colour"])
        colour = colour or pick["colour"]
        pattern = pattern or pick["pattern"]
        silhouette = bool(lots[1] < 0.05) if silhouette is None else silhouette
        pale = tuple(int(v) for v in draw.integers(214, 250, 3))
        paper = background or (WHITE if lots[2] < 0.8 else pale)
        light = colour == "white" and min(paper) > 200
        return cls(
            species=species,
            colour=colour,
            pattern=pattern,
            second_colour=_other(colour, pick["second"]),
            shading="shaded" if lots[3] < 0.5 else "flat",
            belly=bool(lots[4] < 0.45),
            outline=bool(lots[5] < 0.6) or light,
            silhouette=silhouette and not light,
            facing=facing or ("right" if lots[6] < 0.5 else "left"),
            background=paper,
            tint=tuple(int(v) for v in draw.integers(-14, 15, 3)),
            scale=float(draw.uniform(0.84, 1.0)),
            proportions=tuple(float(v) for v in draw.uniform(0.9, 1.12, 5)),
            offset=tuple(float(v) for v in draw.uniform(-1, 1, 2)),
            pattern_seed=int(draw.integers(2**31)),
        )

    @property
    def caption(self) -> str:
        """The caption that text models are trained on, such as "an orange rhino"."""
        article = "an" if self.colour[0] in "aeiou" else "a"
        return f"{article} {self.colour} {self.species}"


def motions_of(species: str) -> tuple[str, ...]:
    """The motions that suit a species: the common ones and its own."""
    _one_of("species", species, SPECIES)
    if species == "fish":
        return (*COMMON, "swim", "wave")
    if species == "flag" or species.startswith("letter"):
        return (*COMMON, "wave")
    if species == "butterfly":
        return (*COMMON, "fly", "wave")
    own = ["graze", "rear"]
    if species in ("turtle", "crocodile", "penguin", "dog", "bear", "snake"):
        own.append("swim")
    if species in ("bird", "ostrich"):
        own.append("fly")
    if species in ("man", "robot", "bear", "cat", "dog", "penguin"):
        own.append("wave")
    return (*COMMON, *own)


def legs_of(species: str) -> int:
    """Whether a species moves by the gaits of four legs or of two."""
    return 2 if species in VERTEBRATES and VERTEBRATES[species].front is None else 4


def pose_of(species: str, motion: str, t: np.ndarray) -> Pose:
    """The poses of a motion at phases `t` (`f`, in cycles)."""
    _one_of("motion", motion, MOTIONS)
    return POSES[motion](np.asarray(t, dtype=float), legs_of(species))


def figure_of(character: Character, pose: Pose) -> Figure:
    """The character's parts and joints in the given poses, facing right."""
    look = Look(character.pattern, character.shading, character.belly, character.pattern_seed)
    if character.silhouette:
        look = Look()
    if character.species.startswith("letter"):
        left = character.facing == "left"
        return OTHERS[character.species](pose, look, character.proportions, left=left)
    if character.species in OTHERS:
        return OTHERS[character.species](pose, look, character.proportions)
    build = character.build or VERTEBRATES[character.species]
    return vertebrate(_stretched(build, character.proportions), pose, look)


def _stretched(build: Build, by: tuple[float, float, float, float, float]) -> Build:
    """A build with its legs, neck, girth, head and tail lengthened by factors."""
    legs, neck, girth, head, tail = by
    return replace(
        build,
        hind=replace(build.hind, length=build.hind.length * legs),
        front=build.front and replace(build.front, length=build.front.length * legs),
        arm_length=build.arm_length * (0.5 + 0.5 * legs),
        neck=(build.neck[0] * neck, *build.neck[1:]),
        girth=tuple((s, up * girth, down * girth) for s, up, down in build.girth),
        head=(build.head[0], build.head[1] * head, build.head[2]),
        tail=(build.tail[0] * tail, *build.tail[1:]),
    )


def _other(colour: str, second: str) -> str:
    """A second colour that can be told from the first."""
    if second != colour and {second, colour} not in ({"grey", "black"}, {"white", "tan"}):
        return second
    return "white" if colour in ("black", "grey", "brown", "blue", "purple", "red") else "brown"


def _one_of(what: str, value: object, allowed: Iterable[object]) -> None:
    """Raise `AnaMoDiffError` for a value that is not among the allowed ones."""
    if value not in allowed:
        known = ", ".join(str(name) for name in allowed if name is not None)
        raise AnaMoDiffError(f"expected a {what} among {known}; got {value!r}; choose one of these")
