from .backbone.model import Backbone
from .errors import AnaMoDiffError
from .integrations.pipeline import AnaMoDiffPipeline
from .options import AdaptationOptions, GenerationOptions, MemoryOptions, TuningOptions
from .run.api import demo, generate, transfer, tune
from .run.examples import write_examples
from .run.inspect import inspect
from .run.many import transfer_many
from .run.motion_transfer import MotionTransfer
from .run.preview import preview
from .run.result import Result
from .video.clip import Clip, read_clip

__version__: str

__all__ = [
    "AdaptationOptions",
    "AnaMoDiffError",
    "AnaMoDiffPipeline",
    "Backbone",
    "Clip",
    "GenerationOptions",
    "MemoryOptions",
    "MotionTransfer",
    "Result",
    "TuningOptions",
    "__version__",
    "demo",
    "generate",
    "inspect",
    "preview",
    "read_clip",
    "transfer",
    "transfer_many",
    "tune",
    "write_examples",
]
