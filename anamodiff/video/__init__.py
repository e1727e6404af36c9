"""Clips: read from any file people have, fitted on a square, and written as mp4, webm or gif."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
