"""AnaMoDiff for ComfyUI: nodes after its V3 schema."""

from .nodes import comfy_entrypoint

__all__ = ["comfy_entrypoint"]
