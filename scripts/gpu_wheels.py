"""Collect the wheels that a GPU machine without a network lacks, to be carried beside the tree.

    python scripts/gpu_wheels.py FOLDER [--also PATH]...

They are for Python 3.12 on x86-64 Linux. It is assumed that torch, transformers, accelerate, peft,
einops, imageio, safetensors and what these need are there already. What is packed with LZMA, which
pip unpacks as well, is a quarter smaller. The sum of the tracked files, of the wheels and of PATH
must stay below 64 MiB. There, in the tree:

    python3 -m pip install -q --no-index --no-deps --no-compile --target /tmp/site FOLDER/*.whl
    PYTHONPATH=/tmp/site:$PWD python3 scripts/gpu_day.py OUT
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

WHEELS = ("diffusers>=0.42,<0.43", "hydra-core>=1.3,<1.4", "omegaconf>=2.3,<2.4", "av>=18,<19")
BUILT = "antlr4-python3-runtime==4.9.*"  # of omegaconf; published as source only
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
MIB = 2**20
LIMIT = 64 * MIB
ROOT = Path(__file__).resolve().parents[1]


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--also", type=Path, action="append", default=[], metavar="PATH",
                        help="a file or folder that travels, too")  # fmt: skip
    given = parser.parse_args(words)
    given.folder.mkdir(parents=True, exist_ok=True)
    for old in given.folder.glob("*.whl"):  # two versions of a package would stop the installation
        old.unlink()
    collect(given.folder)
    wheels = sorted(given.folder.glob("*.whl"))
    for wheel in wheels:
        repack(wheel)
        print(f"{wheel.stat().st_size / MIB:8.2f} MiB  {wheel.name}")
    sizes = {"tree": size_of(tracked(ROOT)), "wheels": size_of(wheels)}
    sizes |= {str(path): size_of([path]) for path in given.also}
    print(", ".join(f"{name} {size / MIB:.2f} MiB" for name, size in sizes.items()))
    return report(sum(sizes.values()))


def collect(folder: Path) -> None:
    """Download the wheels into a folder, and build the one that is not published.

    Raises:
        subprocess.CalledProcessError: pip fails.
    """
    target = ["--only-binary=:all:", "--python-version", "3.12", "--implementation", "cp"]
    target += [word for name in PLATFORMS for word in ("--platform", name)]
    target += [word for name in ("cp312", "abi3", "none") for word in ("--abi", name)]
    _pip("download", "--no-deps", *target, "--dest", str(folder), *WHEELS)
    _pip("wheel", "--no-deps", "--wheel-dir", str(folder), BUILT)


def _pip(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", words[0], "--quiet", *words[1:]], check=True)


def repack(wheel: Path) -> None:
    """Pack a wheel with LZMA, where that makes it smaller; its contents stay the same."""
    draft = wheel.with_suffix(".draft")
    with (
        zipfile.ZipFile(wheel) as source,
        zipfile.ZipFile(draft, "w", zipfile.ZIP_LZMA) as target,
    ):
        for entry in source.infolist():
            target.writestr(entry, source.read(entry), zipfile.ZIP_LZMA)
    if draft.stat().st_size < wheel.stat().st_size:
        os.replace(draft, wheel)
    else:
        draft.unlink()


def tracked(root: Path) -> list[Path]:
    """The files that git tracks."""
    names = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-z"], check=True, capture_output=True, text=True
    ).stdout
    return [root / name for name in names.split("\0") if name]


def size_of(paths: Iterable[Path]) -> int:
    """Bytes of files, and of the files in folders."""
    files = [file for path in paths for file in (path.rglob("*") if path.is_dir() else [path])]
    return sum(file.stat().st_size for file in files if file.is_file())


def report(total: int) -> int:
    """Say whether so many bytes may travel; returns the exit status."""
    text = f"{total / MIB:.2f} MiB of {LIMIT / MIB:.0f}"
    if total >= LIMIT:
        print(
            f"gpu_wheels: error: expected less than {LIMIT / MIB:.0f} MiB in all, got {text}: "
            "carry less",
            file=sys.stderr,
        )
        return 2
    print(f"in all {text}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
