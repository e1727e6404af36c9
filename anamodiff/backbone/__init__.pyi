from .memory import Memory, choose_memory
from .model import Backbone, choose_device
from .precision import choose_precision

__all__ = [
    "Backbone",
    "Memory",
    "choose_device",
    "choose_memory",
    "choose_precision",
]
