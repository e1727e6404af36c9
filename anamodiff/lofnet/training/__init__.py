"""Training of LOFNet: cached latents, pairs, losses, the training loop (paper, 3.2 and 4.1)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
