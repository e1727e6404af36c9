"""What the command lines of all runs share: arguments, options, the machine's settings."""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import TypeVar

import torch

from .state import Run, Schedule, logger

Given = TypeVar("Given", bound=Schedule)


def run_parser(description: str | None, options: type[Schedule]) -> argparse.ArgumentParser:
    """A parser with the arguments of every run and a flag for each of the options."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("run", type=Path, help="folder of the state, the weights and the log")
    made.add_argument("--motion", type=Path, help="folder of motion triples with joints")
    add_run_flags(made, options)
    return made


def add_run_flags(made: argparse.ArgumentParser, options: type[Schedule]) -> None:
    """Add the machine's flags and one for each of the options."""
    made.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    made.add_argument("--threads", type=int, default=1)
    made.add_argument("--measure", action="store_true", help="print scores and stop")
    made.add_argument("--smoke", action="store_true", help="everything once, tiny")
    for field in fields(options):
        kind = type(field.default)
        kind = (lambda text: text.lower() in ("1", "true", "yes")) if kind is bool else kind
        made.add_argument(f"--{field.name.replace('_', '-')}", type=kind)


def given_options(arguments: argparse.Namespace, options: Given) -> Given:
    """The options with those replaced that the command line names."""
    given = {field.name: getattr(arguments, field.name) for field in fields(options)}
    return replace(options, **{name: value for name, value in given.items() if value is not None})


def set_up_torch(threads: int) -> None:
    """Threads, no denormals, which are slow, a fixed seed, and a GPU's fast kernels."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    random.seed(0)
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True


def resume_and_log(training: Run) -> Callable[[str], None]:
    """Go on from a saved state, if there is one; returns what writes the run's log."""
    say = logger(training.folder)
    begun = "resumed" if training.resume() else "begun"
    say(f"{begun} at step {training.step}: {training.options}")
    return say
