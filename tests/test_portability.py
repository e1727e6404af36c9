"""The package imports where Unix-only parts of Python are missing, as on Windows."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import anamodiff

PACKAGE = Path(anamodiff.__file__).resolve().parent
# What Windows lacks: modules, and functions of `os`.
MODULES = ("resource", "fcntl", "pwd", "grp", "termios", "posix_ipc")
FUNCTIONS = ("sysconf", "fork", "getuid", "uname", "sched_getaffinity")
IMPORT_ALL = """
import importlib, os, sys
modules, functions, names = (words.split(",") for words in sys.argv[1:])
import torch, diffusers, transformers, peft, accelerate, av, cv2, psutil  # others' own business
import scipy.stats, skimage.metrics, tqdm.contrib.logging, multiprocessing.util
for module in modules:
    sys.modules[module] = None  # importing it raises ImportError
for function in functions:
    if hasattr(os, function):
        delattr(os, function)
for name in names:
    importlib.import_module(name)
from anamodiff.run.machine import free_memory, peak_memory_mb, total_memory
assert 10 < peak_memory_mb() < 10**6
assert 0 < free_memory() <= total_memory()
"""


def modules() -> list[str]:
    """Names of all modules of the package but `__main__`, which runs the command line."""
    files = sorted(PACKAGE.rglob("*.py"))
    names = (file.relative_to(PACKAGE.parent).with_suffix("").as_posix() for file in files)
    return [
        name.replace("/", ".").removesuffix(".__init__")
        for name in names
        if not name.endswith("__main__")
    ]


@pytest.mark.slow
def test_every_module_imports_without_unix() -> None:
    words = (",".join(MODULES), ",".join(FUNCTIONS), ",".join(modules()))
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, *words], capture_output=True, text=True, timeout=300,
        env=os.environ | {"PYTHONPATH": str(PACKAGE.parent)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_text_files_have_an_encoding() -> None:
    """Without one, Windows reads and writes its own code page."""
    for file in PACKAGE.rglob("*.py"):
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            plain = ".read_text()" in line or (".write_text(" in line and "encoding" not in line)
            assert not plain, f"{file.relative_to(PACKAGE)}:{number} names no encoding"
