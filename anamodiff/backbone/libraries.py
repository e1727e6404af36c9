"""What the model libraries print."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


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
