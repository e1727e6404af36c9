"""Formats that are refused by name, or read by a library that is not everybody's."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from anamodiff.video.picture import Picture
from anamodiff.video.rgb import to_picture
from anamodiff.video.sampling import DEFAULT_FPS, ClipError, FrameSource

_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_REFUSED = {
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL \r\n\x87\n": "JPEG XL",
    b"%PDF-": "PDF",
    b"PK\x03\x04": "ZIP",
    b"\x1f\x8b": "GZIP",
    b"Rar!": "RAR",
    b"7z\xbc\xaf": "7Z",
    b"FUJIFILMCCD-RAW": "camera raw",
}
_ARCHIVES = ("ZIP", "GZIP", "RAR", "7Z")


def open_named(path: Path, head: bytes, role: str) -> FrameSource | None:
    """The frames of a HEIC picture; None for a format that is not known here.

    Raises `ClipError` for formats that are not supported.
    """
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        return _open_heic(path, role)
    for magic, name in _REFUSED.items():
        if head.startswith(magic):
            cure = "unpack it" if name in _ARCHIVES else "export it as png, or a film as mp4"
            raise ClipError(
                f"expected a {role} (mp4, webm, gif, webp, png ...), got {name}, which is not "
                f"supported: {path}; {cure}"
            )
    return None


def _open_heic(path: Path, role: str) -> FrameSource:
    """A HEIC picture through pillow-heif: FFmpeg gives its tiles one by one."""
    try:
        import pillow_heif  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ClipError(
            f"expected a {role}, got a HEIC picture, which needs pillow-heif: {path}; install "
            "anamodiff[heic], or export it as jpg or png"
        ) from None
    pillow_heif.register_heif_opener()

    def pictures(_: Sequence[int], size: int | None) -> Iterator[Picture]:
        try:
            with Image.open(path, formats=("HEIF",)) as image:
                yield to_picture(image, size)
        except Exception:  # the decoder's own types
            raise ClipError(
                f"expected a {role} that can be decoded, got a damaged HEIC picture: {path}; "
                "copy it again or export it as jpg"
            ) from None

    return FrameSource((1 / DEFAULT_FPS,), pictures)
