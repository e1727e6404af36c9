"""Pictures in high dynamic range: png and avif that name PQ or HLG as their transfer function.

Pillow gives their values as if they were a standard display's; FFmpeg names the function, too.
"""

from __future__ import annotations

from pathlib import Path

from anamodiff.video.pyav import open_video
from anamodiff.video.sampling import ClipError, FrameSource

_HEAD = 2**16  # bytes in which a picture's colours are named
_PNG, _COLOURS = b"\x89PNG\r\n\x1a\n", b"IDAT"
_TRANSFERS = (16, 18)  # PQ and HLG, of ITU-T H.273


def open_hdr(path: Path, role: str) -> FrameSource | None:
    """The frames of a picture in high dynamic range; None for any other file."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if _transfer(head) not in _TRANSFERS:
        return None
    try:
        return open_video(path, role)
    except ClipError:  # FFmpeg does not know what Pillow may
        return None


def _transfer(head: bytes) -> int | None:
    """The number of the transfer function that a png (cICP) or avif (nclx) names."""
    if head.startswith(_PNG):
        place = head.partition(_COLOURS)[0].find(b"cICP")
        return head[place + 5] if place >= 0 and b"acTL" not in head[:place] else None
    if head[4:8] == b"ftyp" and b"avi" in head[8:32]:
        place = head.find(b"colrnclx")
        name = head[place + 10 : place + 12]
        return int.from_bytes(name, "big") if place >= 0 else None
    return None
