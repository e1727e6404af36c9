"""The latent optical flow network, LOFNet, and key-point adaptation (paper, 3.2 and 3.3).

Each public name is imported from its module on first use. Training is a package of its own,
`anamodiff.lofnet.training`, which using the network does not load.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
