"""Proportions of the animals that have a spine: one `Build` each, plain data.

Lengths are in distances from hip to shoulder of the animal (so `length` is 1), angles in degrees.
"""

from dataclasses import dataclass, replace

Point = tuple[float, float]
Profile = tuple[tuple[float, float, float], ...]  # (place along the spine, height up, depth down)


def profile(text: str) -> Profile:
    """A profile from "s,up,down s,up,down ..."."""
    return tuple(tuple(float(number) for number in item.split(",")) for item in text.split())


def scaled(of: Profile, up: float, down: float) -> Profile:
    """A profile made higher and deeper by factors."""
    return tuple((s, up * high, down * deep) for s, high, deep in of)


@dataclass(frozen=True)
class Limb:
    """A leg: resting height of its root, three bones as fractions of it, thickness, foot."""

    length: float
    bones: tuple[float, float, float] = (0.36, 0.40, 0.35)
    radii: tuple[float, float, float, float] = (0.17, 0.085, 0.05, 0.045)
    foot: str = "hoof"
    size: float = 0.075
    toe: float = 8.0
    shift: float = 0.0
    ink: str = "body"


@dataclass(frozen=True)
class Ear:
    """An ear: shape, length and width in head lengths, resting angle, place on the head."""

    shape: str
    length: float
    width: float
    angle: float
    at: Point = (0.14, 0.24)


@dataclass(frozen=True)
class Build:
    """How one species is put together."""

    hind: Limb
    front: Limb | None = None
    arms: str = ""
    arm_length: float = 0.5
    girth: Profile = ()
    angle: float = 0.0
    neck: tuple[float, float, float, float] = (0.6, 48.0, 0.17, 0.11)
    neck_at: tuple[float, float] = (1.05, 0.05)
    head: tuple[str, float, float] = ("horse", 0.48, -35.0)
    ear: Ear | None = None
    tail: tuple[float, float, float, float, float] = (0.6, -70.0, 0.05, 0.03, 25.0)
    tail_at: tuple[float, float] = (-0.2, 0.12)
    features: tuple[str, ...] = ()
    bow: float = -48.0
    lean: float = 1.0
    bend: float = 1.0
    stride: float = 1.0


def hoofed(length: float, thick: float = 1.0, shift: float = 0.0) -> tuple[Limb, Limb]:
    """Hind and front leg of a hoofed animal."""
    hind = tuple(thick * r for r in (0.19, 0.095, 0.05, 0.042))
    front = tuple(thick * r for r in (0.13, 0.075, 0.05, 0.042))
    return (
        Limb(length, (0.37, 0.38, 0.35), hind, "hoof", 0.075 * thick, 6.0, -shift),
        Limb(length, (0.52, 0.38, 0.14), front, "hoof", 0.075 * thick, 14.0, shift),
    )


def pawed(length: float, thick: float = 1.0, size: float = 0.09) -> tuple[Limb, Limb]:
    """Hind and front leg of an animal with paws."""
    hind = tuple(thick * r for r in (0.2, 0.1, 0.06, 0.055))
    front = tuple(thick * r for r in (0.14, 0.09, 0.065, 0.055))
    return (
        Limb(length, (0.4, 0.4, 0.33), hind, "paw", size, 8.0),
        Limb(length, (0.53, 0.42, 0.12), front, "paw", size, 14.0),
    )


def column(length: float, thick: float = 1.0) -> tuple[Limb, Limb]:
    """Hind and front leg of a heavy animal."""
    hind = tuple(thick * r for r in (0.24, 0.15, 0.115, 0.125))
    front = tuple(thick * r for r in (0.2, 0.14, 0.115, 0.125))
    return (
        Limb(length, (0.48, 0.42, 0.15), hind, "pad", 0.13 * thick, 0.0),
        Limb(length, (0.5, 0.4, 0.14), front, "pad", 0.13 * thick, 0.0),
    )


SLIM = profile("-.2,.15,.17 0,.24,.26 .35,.2,.28 .7,.21,.3 1,.23,.3 1.2,.12,.2")
FELINE = profile("-.16,.12,.12 0,.19,.2 .35,.17,.2 .7,.18,.22 1,.19,.24 1.16,.1,.15")
BARREL = profile("-.22,.2,.22 0,.3,.32 .35,.3,.42 .7,.32,.42 1,.32,.38 1.22,.18,.24")
HEAVY = profile("-.24,.22,.3 0,.36,.4 .35,.36,.46 .7,.37,.46 1,.38,.42 1.22,.22,.3")


def _quadrupeds() -> dict[str, Build]:
    """Four-legged species."""
    builds: dict[str, Build] = {}
    hind, front = hoofed(1.1)
    builds["horse"] = Build(
        hind, front, girth=SLIM, neck=(0.72, 50, 0.2, 0.12), head=("horse", 0.54, -42),
        ear=Ear("leaf", 0.3, 0.13, 95, (0.1, 0.2)), tail=(0.85, -58, 0.06, 0.05, -8),
        features=("mane", "brush_tail"), bow=-52,
    )  # fmt: skip
    hind, front = hoofed(0.95, 1.1)
    builds["cow"] = Build(
        hind, front, girth=BARREL, neck=(0.42, 22, 0.27, 0.17), neck_at=(1.08, 0.06),
        head=("cow", 0.52, -32), ear=Ear("leaf", 0.36, 0.17, 170, (0.1, 0.14)),
        tail=(0.85, -82, 0.035, 0.02, 8), tail_at=(-0.24, 0.14),
        features=("horns", "tuft_tail", "udder", "muzzle"), bow=-46,
    )  # fmt: skip
    hind, front = hoofed(1.5, 0.95)
    builds["giraffe"] = Build(
        hind, replace(front, length=1.68), neck=(1.65, 62, 0.22, 0.095), head=("horse", 0.46, -28),
        girth=SLIM, neck_at=(1.02, 0.06), ear=Ear("leaf", 0.3, 0.13, 140, (0.08, 0.16)),
        tail=(0.7, -80, 0.035, 0.02, 6), features=("ossicones", "tuft_tail", "short_mane"), bow=-56,
        stride=0.9,
    )  # fmt: skip
    hind, front = hoofed(1.3, 0.95)
    builds["camel"] = Build(
        hind, front, girth=SLIM, neck=(1.0, 28, 0.19, 0.1), neck_at=(1.08, 0.0),
        head=("horse", 0.44, -12), ear=Ear("leaf", 0.2, 0.12, 115, (0.1, 0.2)),
        tail=(0.5, -78, 0.035, 0.02, 6), features=("humps", "tuft_tail", "swan_neck"), bow=-52,
    )  # fmt: skip
    hind, front = hoofed(1.15, 0.72)
    builds["deer"] = Build(
        hind, front, girth=scaled(SLIM, 0.9, 0.88),
        neck=(0.68, 56, 0.16, 0.09), head=("dog", 0.4, -24), tail=(0.2, 20, 0.06, 0.03, 0),
        ear=Ear("leaf", 0.42, 0.17, 140, (0.08, 0.22)), features=("antlers",), bow=-50,
    )  # fmt: skip
    hind, front = hoofed(0.72, 0.85)
    builds["sheep"] = Build(
        hind, front, girth=scaled(BARREL, 0.85, 0.85), neck=(0.5, 34, 0.2, 0.15),
        head=("dog", 0.42, -34), ear=Ear("leaf", 0.4, 0.16, 190, (0.12, 0.16)),
        tail=(0.2, -50, 0.08, 0.05, 0), features=("wool",), bow=-44,
    )  # fmt: skip
    hind, front = column(1.08, 1.0)
    builds["elephant"] = Build(
        hind, front, girth=HEAVY, neck=(0.22, 30, 0.32, 0.3), neck_at=(1.12, 0.12),
        head=("elephant", 0.62, -8), ear=Ear("elephant", 1.05, 0.9, 0, (0.12, 0.06)),
        tail=(0.6, -82, 0.035, 0.02, 5), tail_at=(-0.26, 0.16),
        features=("trunk", "tusk", "tuft_tail"), bow=-12, stride=0.85, bend=0.4,
    )  # fmt: skip
    hind, front = column(0.78, 0.92)
    builds["rhino"] = Build(
        hind, front, girth=HEAVY, neck=(0.34, 4, 0.36, 0.24), neck_at=(1.1, 0.04),
        head=("rhino", 0.66, -22), ear=Ear("leaf", 0.24, 0.12, 105, (0.1, 0.28)),
        tail=(0.4, -78, 0.035, 0.02, 5), tail_at=(-0.26, 0.14),
        features=("nose_horns", "tuft_tail"), bow=-34, stride=0.95, bend=0.5,
    )  # fmt: skip
    hind, front = hoofed(0.66, 1.0)
    builds["pig"] = Build(
        hind, front, girth=BARREL, neck=(0.24, 10, 0.3, 0.24), neck_at=(1.1, 0.02),
        head=("pig", 0.52, -14), ear=Ear("point", 0.36, 0.24, 60, (0.22, 0.28)),
        tail=(0.3, 40, 0.03, 0.02, 60), tail_at=(-0.26, 0.1),
        features=("snout", "curly_tail"), bow=-34,
    )  # fmt: skip
    hind, front = pawed(0.72, 0.85, 0.085)
    builds["cat"] = Build(
        hind, front, girth=FELINE, neck=(0.28, 48, 0.16, 0.13), neck_at=(1.06, 0.05),
        head=("cat", 0.44, -4), ear=Ear("point", 0.4, 0.27, 92, (0.28, 0.34)),
        tail=(0.95, 50, 0.055, 0.04, 62), tail_at=(-0.14, 0.1),
        features=("whiskers",), bow=-38, bend=1.3,
    )  # fmt: skip
    hind, front = pawed(0.85, 0.88, 0.09)
    builds["dog"] = Build(
        hind, front, girth=FELINE, neck=(0.4, 54, 0.17, 0.14), head=("dog", 0.48, -8),
        ear=Ear("flop", 0.42, 0.2, -105, (0.16, 0.2)), tail=(0.6, 60, 0.06, 0.03, 35),
        tail_at=(-0.14, 0.1), features=("nose",), bow=-42, bend=1.2,
    )  # fmt: skip
    hind, front = pawed(0.82, 0.74, 0.08)
    builds["fox"] = Build(
        hind, front, girth=scaled(FELINE, 0.86, 0.86),
        neck=(0.34, 38, 0.17, 0.13), head=("fox", 0.48, -10),
        ear=Ear("point", 0.42, 0.22, 96, (0.16, 0.28)),
        tail=(0.95, -22, 0.07, 0.05, 18), tail_at=(-0.14, 0.08), features=("bushy_tail", "nose"),
        bow=-40, bend=1.3,
    )  # fmt: skip
    hind, front = pawed(0.82, 1.1, 0.11)
    builds["lion"] = Build(
        hind, front, girth=scaled(FELINE, 1.12, 1.14),
        neck=(0.36, 34, 0.2, 0.17), head=("cat", 0.46, -10),
        ear=Ear("round", 0.2, 0.2, 100, (0.24, 0.34)),
        tail=(0.9, -40, 0.035, 0.03, 40), tail_at=(-0.14, 0.1),
        features=("lion_mane", "tuft_tail", "muzzle"), bow=-36, bend=1.2,
    )  # fmt: skip
    hind, front = pawed(0.84, 1.35, 0.13)
    builds["bear"] = Build(
        hind, front, girth=HEAVY, neck=(0.46, 22, 0.3, 0.2), neck_at=(1.1, 0.06),
        head=("dog", 0.52, -18), ear=Ear("round", 0.28, 0.28, 105, (0.12, 0.3)),
        tail=(0.12, -40, 0.07, 0.05, 0), features=("nose",), bow=-34,
    )  # fmt: skip
    builds["rabbit"] = Build(
        Limb(0.5, (0.62, 0.62, 0.42), (0.3, 0.15, 0.07, 0.07), "paw", 0.11, 62.0, 0.02),
        Limb(0.5, (0.53, 0.42, 0.12), (0.11, 0.08, 0.06, 0.06), "paw", 0.09, 14.0),
        girth=profile("-.2,.18,.2 0,.36,.26 .35,.36,.26 .7,.26,.26 1,.2,.24 1.16,.1,.15"),
        neck=(0.24, 55, 0.18, 0.16), head=("rabbit", 0.5, -6), tail=(0.1, 30, 0.14, 0.13, 0),
        tail_at=(-0.24, 0.06), ear=Ear("leaf", 1.05, 0.24, 112, (0.14, 0.26)),
        features=("whiskers",), bow=-44, bend=1.4, stride=1.4,
    )  # fmt: skip
    builds["turtle"] = Build(
        Limb(0.34, (0.56, 0.52, 0.16), (0.14, 0.11, 0.09, 0.09), "paw", 0.11, 10.0, -0.02),
        Limb(0.34, (0.56, 0.52, 0.16), (0.14, 0.11, 0.09, 0.09), "paw", 0.11, 10.0, 0.06),
        girth=profile("-.24,.1,.1 0,.16,.14 .35,.18,.14 .7,.18,.14 1,.16,.14 1.16,.1,.1"),
        neck=(0.42, 34, 0.13, 0.12), neck_at=(1.12, 0.02), head=("turtle", 0.4, -6),
        tail=(0.28, -30, 0.06, 0.015, 5), tail_at=(-0.26, 0.0), features=("shell",), bow=-40,
        bend=0.2, stride=1.25,
    )  # fmt: skip
    builds["crocodile"] = Build(
        Limb(0.32, (0.58, 0.52, 0.18), (0.12, 0.08, 0.055, 0.055), "paw", 0.09, 20.0),
        Limb(0.32, (0.58, 0.52, 0.18), (0.1, 0.075, 0.055, 0.055), "paw", 0.09, 20.0),
        girth=profile("-.2,.14,.14 0,.19,.18 .35,.21,.21 .7,.21,.21 1,.19,.18 1.14,.14,.14"),
        neck=(0.16, 6, 0.15, 0.13), neck_at=(1.1, 0.02), head=("crocodile", 0.78, 2),
        tail=(1.15, -12, 0.16, 0.02, 12), tail_at=(-0.16, 0.02), features=("ridge", "teeth"),
        bow=-14, bend=0.5, stride=1.3,
    )  # fmt: skip
    return builds


def _two_legged() -> dict[str, Build]:
    """Species that walk on two legs, with arms or wings in front."""
    bird_leg = (0.42, 0.4, 0.4)
    trunk = profile("-.16,.16,.14 0,.22,.2 .4,.18,.18 .8,.22,.22 1,.2,.2 1.1,.1,.1")
    box = profile("-.12,.22,.22 0,.26,.26 .35,.27,.27 .7,.3,.3 1,.31,.31 1.06,.28,.28")
    egg = profile("-.3,.12,.12 0,.32,.34 .35,.36,.4 .7,.32,.36 1,.22,.26 1.1,.12,.14")
    return {
        "man": Build(
            Limb(
                1.3, (0.5, 0.46, 0.15), (0.17, 0.115, 0.075, 0.06), "shoe", 0.1, 66.0, 0.0,
                ink="trousers",
            ),
            arms="arm", arm_length=1.15, girth=trunk, angle=88, neck=(0.16, 88, 0.09, 0.09),
            neck_at=(1.06, 0.0), head=("human", 0.52, 0), tail=(0, 0, 0, 0, 0),
            features=("hair",), bow=-25, lean=0.45, bend=0.5,
        ),
        "robot": Build(
            Limb(1.0, (0.5, 0.46, 0.16), (0.13, 0.11, 0.1, 0.09), "shoe", 0.13, 66.0),
            arms="arm", arm_length=1.1, girth=box, angle=90, neck=(0.14, 90, 0.08, 0.08),
            neck_at=(1.04, 0.0), head=("robot", 0.6, 0), tail=(0, 0, 0, 0, 0),
            features=("antenna", "panel"), bow=-20, lean=0.4, bend=0.1,
        ),
        "penguin": Build(
            Limb(0.3, (0.6, 0.5, 0.3), (0.16, 0.12, 0.09, 0.07), "web", 0.2, 66.0),
            arms="flipper", arm_length=0.78, girth=egg, angle=84, neck=(0.2, 86, 0.24, 0.2),
            neck_at=(1.0, 0.0), head=("bird", 0.46, 0), tail=(0.26, -52, 0.1, 0.03, 0),
            tail_at=(-0.22, 0.16), features=("beak", "bib"),
            bow=-15, lean=0.5, bend=0.3, stride=1.5,
        ),
        "ostrich": Build(
            Limb(1.25, bird_leg, (0.2, 0.1, 0.045, 0.04), "claw", 0.16, 12.0, 0.3),
            arms="wing", arm_length=0.75,
            girth=profile("-.2,.12,.12 0,.26,.24 .4,.34,.32 .8,.3,.3 1.05,.16,.18"),
            angle=6, neck=(1.2, 72, 0.12, 0.07), neck_at=(1.0, 0.08), head=("bird", 0.3, -4),
            tail=(0.45, 22, 0.15, 0.1, -30), tail_at=(-0.14, 0.08), features=("beak", "swan_neck"),
            bow=-58, lean=0.7, bend=0.5,
        ),
        "bird": Build(
            Limb(0.52, bird_leg, (0.13, 0.07, 0.035, 0.03), "claw", 0.14, 10.0, 0.42),
            arms="wing", arm_length=1.15,
            girth=profile("-.3,.1,.1 0,.2,.22 .4,.3,.34 .8,.3,.36 1.05,.2,.26 1.15,.1,.14"),
            angle=16, neck=(0.2, 62, 0.22, 0.2), neck_at=(1.0, 0.06), head=("bird", 0.5, 0),
            tail=(0.5, -8, 0.12, 0.12, 0), tail_at=(-0.28, 0.0), features=("beak", "fan_tail"),
            bow=-30, lean=1.0, bend=0.3, stride=1.2,
        ),
        "dinosaur": Build(
            Limb(1.0, bird_leg, (0.27, 0.14, 0.08, 0.07), "claw", 0.2, 10.0, 0.08),
            arms="claws", arm_length=0.42,
            girth=profile("-.2,.22,.22 0,.3,.28 .4,.28,.3 .8,.26,.3 1.1,.16,.18"),
            angle=14, neck=(0.46, 50, 0.22, 0.16), head=("trex", 0.72, -4),
            tail=(1.5, 0, 0.24, 0.025, 16), tail_at=(-0.16, 0.02), features=("teeth", "ridge"),
            bow=-38, lean=0.7, bend=0.5,
        ),
    }  # fmt: skip


VERTEBRATES: dict[str, Build] = _quadrupeds() | _two_legged()
