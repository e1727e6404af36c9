"""AnaMoDiff: transfer the motion of one character onto another, looking like itself.

    >>> import anamodiff
    >>> result = anamodiff.transfer("source.gif", "driving.gif", prompt="a turtle")
    >>> result.save("out.gif")

Importing the package loads nothing heavy: each public name is imported from its module on
first use; `__init__.pyi` lists them.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]
