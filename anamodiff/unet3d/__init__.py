"""A two-dimensional Stable Diffusion UNet, inflated to clips, and its LoRA."""

from anamodiff.unet3d.lora import (
    LoraBlocks,
    LoraLayers,
    add_lora,
    merge_lora,
    trainable_parameters,
    unmerge_lora,
)
from anamodiff.unet3d.model import CheckpointLevels, UNet3D, UNet3DOutput, inflate
from anamodiff.unet3d.past import Past
from anamodiff.unet3d.weights import load_weights, save_weights

__all__ = [
    "CheckpointLevels",
    "LoraBlocks",
    "LoraLayers",
    "Past",
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
