"""DDIM inversion, sampling, and matching of the source's colours (paper, section 3.5)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
