"""AnaMoDiff: transfer the motion of one character onto another, looking like itself.

    >>> import anamodiff
    >>> result = anamodiff.transfer("source.gif", "driving.gif", prompt="a turtle")
    >>> result.save("out.gif")

Importing the package loads nothing heavy: each public name is fetched from its module when it is
first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_HOMES = {
    "AdaptationOptions": "anamodiff.lofnet",
    "AnaMoDiffError": "anamodiff.errors",
    "Backbone": "anamodiff.backbone",
    "Clip": "anamodiff.video",
    "GenerationOptions": "anamodiff.inversion",
    "MotionTransfer": "anamodiff.pipeline",
    "Result": "anamodiff.pipeline",
    "TuningOptions": "anamodiff.tuning",
    "demo": "anamodiff.pipeline",
    "generate": "anamodiff.pipeline",
    "inspect": "anamodiff.inspection",
    "read_clip": "anamodiff.video",
    "transfer": "anamodiff.pipeline",
    "transfer_many": "anamodiff.many",
    "tune": "anamodiff.pipeline",
}

__all__ = [  # noqa: F822 - the names come from `__getattr__`
    "AdaptationOptions",
    "AnaMoDiffError",
    "Backbone",
    "Clip",
    "GenerationOptions",
    "MotionTransfer",
    "Result",
    "TuningOptions",
    "__version__",
    "demo",
    "generate",
    "inspect",
    "read_clip",
    "transfer",
    "transfer_many",
    "tune",
]

if TYPE_CHECKING:
    from anamodiff.backbone import Backbone
    from anamodiff.errors import AnaMoDiffError
    from anamodiff.inspection import inspect
    from anamodiff.inversion import GenerationOptions
    from anamodiff.lofnet import AdaptationOptions
    from anamodiff.many import transfer_many
    from anamodiff.pipeline import MotionTransfer, Result, demo, generate, transfer, tune
    from anamodiff.tuning import TuningOptions
    from anamodiff.video import Clip, read_clip


def __getattr__(name: str) -> object:
    """Fetches a public name from its module (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
