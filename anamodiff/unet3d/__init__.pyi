from .kv_cache import KeyValueCache
from .lora import add_lora, merge_lora, trainable_parameters, unmerge_lora
from .model import UNet3D, UNet3DOutput, inflate
from .weights import load_weights, save_weights

__all__ = [
    "KeyValueCache",
    "UNet3D",
    "UNet3DOutput",
    "add_lora",
    "inflate",
    "load_weights",
    "merge_lora",
    "save_weights",
    "trainable_parameters",
    "unmerge_lora",
]
