"""Disentangled tuning: pose from the warped clip at high noise, identity from the source (3.4)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
