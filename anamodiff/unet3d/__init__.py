"""A Stable Diffusion UNet inflated to clips, and its LoRA (paper, section 3.4)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
