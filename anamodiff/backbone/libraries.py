"""What the model libraries print."""

import os


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
