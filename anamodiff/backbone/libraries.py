"""When the model libraries are imported, and what they print."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module

# How they are imported: a program may want to say that they load, or to silence them.
_how: ContextVar[Callable[[], None] | None] = ContextVar("how", default=None)


def import_libraries() -> None:
    """Import torch, diffusers and the rest, which takes seconds.

    What people call does so after all checks that need none of them: a wrong name is told at once.
    Modules that hold such checks import the others inside their functions, after this.
    """
    how = _how.get()
    if how is None:
        import_module("anamodiff.backbone.model")
    else:
        how()


@contextmanager
def imported_by(how: Callable[[], None]) -> Iterator[None]:
    """Lets `import_libraries` call a function, which has to import them."""
    token = _how.set(how)
    try:
        yield
    finally:
        _how.reset(token)


def quiet_libraries() -> None:
    """Silence messages and loading bars of diffusers and transformers; downloads keep theirs."""
    for library in ("DIFFUSERS", "TRANSFORMERS"):
        os.environ.setdefault(f"{library}_VERBOSITY", "error")
    from diffusers.utils import logging as diffusers_logging
    from huggingface_hub.utils import enable_progress_bars
    from transformers.utils import logging as transformers_logging

    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    # transformers' switch turns the hub's bars off too: 4 GB with no sign of life.
    enable_progress_bars()


@contextmanager
def without_loading_bars() -> Iterator[None]:
    """No bars of transformers while files on the disk are read; afterwards all is as it was."""
    from huggingface_hub import utils as hub_utils
    from transformers.utils import logging as transformers_logging

    shown = transformers_logging.is_progress_bar_enabled()
    hidden = hub_utils.are_progress_bars_disabled()  # transformers' switch turns these, too
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
        if hidden:
            hub_utils.disable_progress_bars()
        else:
            hub_utils.enable_progress_bars()
