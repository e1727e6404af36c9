"""What people upload: one clip, a zip, or several pictures, within bounds."""

from __future__ import annotations

import hashlib
import lzma
import os
import shutil
import zipfile
import zlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path, PureWindowsPath

from anamodiff.app.options import AppOptions
from anamodiff.errors import AnaMoDiffError
from anamodiff.resources import replacing
from anamodiff.video.clip import read_clip
from anamodiff.video.sampling import silent

#: Suffixes that the page's dialogs offer; what is in a file decides.
SUFFIXES = (
    ".mp4", ".mov", ".webm", ".mkv", ".avi", ".m4v", ".gif", ".webp", ".apng", ".png", ".jpg",
    ".jpeg", ".bmp", ".tif", ".tiff", ".zip",
    *((".heic", ".heif") if find_spec("pillow_heif") else ()),
)  # fmt: skip
_UNPACKING = (zipfile.BadZipFile, zlib.error, lzma.LZMAError)
_GLANCE = 64  # side of the canvas on which an upload is looked at


def clip_of_upload(
    files: Sequence[str] | str | None, role: str, minimum: int, folder: Path, limits: AppOptions
) -> Path:
    """The clip in an upload: its only file, or a folder with the pictures.

    Args:
        files: paths of what was uploaded.
        role: what messages call the clip.
        minimum: fewest frames.
        folder: where zips are unpacked and pictures gathered.

    Raises:
        AnaMoDiffError: nothing was uploaded, it is no clip, or it is too large.
    """
    paths = [Path(file) for file in ([files] if isinstance(files, str) else files or [])]
    if not paths:
        raise AnaMoDiffError(f"expected a {role}, got none: drop a file or choose an example")
    if not all(path.is_file() for path in paths):
        raise AnaMoDiffError(
            f"expected a {role} that is still here, got one that was deleted: files are kept for "
            f"{limits.keep_minutes} minutes; drop it again"
        )
    check_bytes(sum(path.stat().st_size for path in paths), role, limits)
    if len(paths) == 1 and not zipfile.is_zipfile(paths[0]):
        clip = paths[0]
    else:
        name = hashlib.sha256("\n".join(map(str, paths)).encode()).hexdigest()[:24]
        clip = folder / name
        if not clip.is_dir():
            _gather(paths, role, clip, limits)
        os.utime(clip)  # it is in use, so it is not old
        inside = sorted(clip.iterdir())
        clip = inside[0] if len(inside) == 1 else clip
    check_extent(clip, role, minimum, limits)
    return clip


def check_bytes(size: int, role: str, limits: AppOptions) -> None:
    """Refuse more bytes than `max_mb`."""
    if size > limits.max_mb * 1_000_000:
        raise AnaMoDiffError(
            f"expected a {role} of at most {limits.max_mb} MB, got {size / 1e6:.0f} MB: cut it "
            "shorter or make it smaller"
        )


def check_extent(clip: Path, role: str, minimum: int, limits: AppOptions) -> None:
    """Refuse a clip that cannot be read, or of too many frames or pixels; reads one frame."""
    with silent():
        found = read_clip(clip, frames=1, size=_GLANCE, minimum=minimum, role=role)
    if found.total > limits.max_frames:
        raise AnaMoDiffError(
            f"expected a {role} of at most {limits.max_frames} frames, got {found.total}: cut it "
            "shorter"
        )
    assert found.box is not None  # it was read with a size
    height, width = found.box.original
    if height * width > limits.max_megapixels * 1e6:
        raise AnaMoDiffError(
            f"expected a {role} of at most {limits.max_megapixels:g} megapixels, got "
            f"{width}x{height}: make it smaller"
        )


def _gather(paths: Sequence[Path], role: str, folder: Path, limits: AppOptions) -> None:
    """Put the files of a zip, or several pictures, into a new folder, which comes whole."""
    with replacing(folder) as draft:
        draft.mkdir(parents=True)
        try:
            if len(paths) == 1:
                _unpack(paths[0], role, draft, limits)
                return
            if any(zipfile.is_zipfile(path) for path in paths):
                raise AnaMoDiffError(
                    f"expected one zip or several pictures as {role}, got both: drop one zip"
                )
            _check_count(len(paths), role, limits)
            for path in paths:
                shutil.copyfile(path, _free(draft / path.name, role))
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise


def _unpack(archive: Path, role: str, folder: Path, limits: AppOptions) -> None:
    """The files of a zip, without its folders, whatever paths it names."""
    try:
        with zipfile.ZipFile(archive) as opened:
            files = [info for info in opened.infolist() if _counts(info)]
            if not files:
                raise AnaMoDiffError(f"expected pictures or a clip in the {role}'s zip, got none")
            _check_count(len(files), role, limits)
            check_bytes(sum(info.file_size for info in files), role, limits)
            for info in files:
                # Without folders and drives, whichever system packed it.
                target = _free(folder / PureWindowsPath(info.filename).name, role)
                # zipfile reads no more bytes than the directory of the zip promises.
                with opened.open(info) as packed, target.open("wb") as file:
                    shutil.copyfileobj(packed, file)
    except (*_UNPACKING, NotImplementedError, RuntimeError, EOFError) as error:
        raise AnaMoDiffError(
            f"expected a {role}'s zip that can be unpacked, got: {error}: pack it anew, without a "
            "password"
        ) from error


def _counts(info: zipfile.ZipInfo) -> bool:
    """Whether a zip's entry is a file of people's own."""
    parts = PureWindowsPath(info.filename).parts
    hidden = any(part.strip(".") and part[0] == "." or part == "__MACOSX" for part in parts)
    return bool(parts) and not info.is_dir() and not hidden


def _check_count(count: int, role: str, limits: AppOptions) -> None:
    if count > limits.max_frames:
        raise AnaMoDiffError(
            f"expected a {role} of at most {limits.max_frames} pictures, got {count}: drop fewer"
        )


def _free(path: Path, role: str) -> Path:
    if path.exists():
        raise AnaMoDiffError(
            f"expected pictures of one clip as {role}, got two named {path.name}: give each a "
            "number of its own"
        )
    return path
