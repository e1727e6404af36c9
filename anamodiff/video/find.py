"""The clips in a folder, by what the files hold rather than by their names."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from anamodiff.resources import expanded
from anamodiff.video.folder import list_frames, natural_order
from anamodiff.video.pillow import holds_motion
from anamodiff.video.sampling import ClipError
from anamodiff.video.suffixes import PICTURE_SUFFIXES, VIDEO_SUFFIXES
from anamodiff.video.text import as_text

# Made by systems rather than people.
_UNNAMED = ("thumbs.db", "desktop.ini")


@dataclass(frozen=True)
class FoundClips:
    """What a folder holds: clips, and the files that are none, each with the reason."""

    clips: list[Path]
    left_out: dict[Path, str]


def find_clips(folder: str | Path) -> list[Path]:
    """List the clips in a folder: videos, animations, strips, and folders of frames, sorted.

    Folders of clips inside it are searched too. A folder that holds only plain pictures is one
    clip, its frames. Pictures too damaged to tell, and files of unknown kinds, are listed beside
    clips, so that whoever reads them says so. Hidden files are left out. Raises `ClipError` where
    there is none.
    """
    return look_for_clips(folder).clips


def look_for_clips(folder: str | Path) -> FoundClips:
    """`find_clips` with the files that it leaves out."""
    folder = expanded(folder)
    if not folder.is_dir():
        raise ClipError(f"expected a folder of clips, got {folder}; name an existing folder")
    left_out: dict[Path, str] = {}
    clips = _clips_in(folder, left_out)
    if not clips:
        raise ClipError(
            f"expected videos, animations, strips or folders of frames in {folder}, got none; "
            "put clips there or name another folder"
        )
    return FoundClips(clips, left_out)


def _clips_in(folder: Path, left_out: dict[Path, str]) -> list[Path]:
    clips: list[Path] = []
    damaged = 0
    others: dict[Path, str] = {}
    for path in _shown(folder):
        if path.is_dir():
            clips += _clips_in(path, left_out)
        elif reason := _reason_against(path):
            others[path] = reason
        else:
            clips.append(path)
            damaged += path.suffix.lower() in PICTURE_SUFFIXES and holds_motion(path) is None
    frames = list_frames(folder)
    if len(clips) == damaged and len(frames) > 1:
        left_out |= {path: reason for path, reason in others.items() if path not in frames}
        return [folder]
    left_out |= others
    return clips


def _shown(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir(), key=natural_order):
        if not path.name.startswith(".") and path.name.lower() not in _UNNAMED:
            yield path


def _reason_against(path: Path) -> str | None:
    """Why a file is no clip; None for one that is, or that only reading it can tell."""
    suffix = path.suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return None
    if not path.is_file():
        return "no file"
    if suffix in PICTURE_SUFFIXES:
        return "one picture" if holds_motion(path) is False else None
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError:
        return None
    return "text" if not head or as_text(head) else None
