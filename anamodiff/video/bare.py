"""A png without the extra chunks that may cost the picture: of them, few say how it looks."""

import zlib
from pathlib import Path

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LARGEST = 2**16  # bytes of a text that is kept
_KEPT = (b"tRNS", b"acTL", b"fcTL", b"fdAT")  # ancillary by name, but part of the pictures
# The profile or curve of the colours, and where the orientation may stand.
_USED = (b"iCCP", b"gAMA", b"sRGB", b"eXIf", b"iTXt")
_LENGTHS = {b"gAMA": 4, b"sRGB": 1}


def without_extras(path: Path) -> bytes | None:
    """The bytes of a png without its useless and harmful extra chunks; None where it has none.

    Pillow refuses pictures whose compressed texts unpack to a megabyte or whose extra chunks have
    a wrong checksum; every viewer shows them.
    """
    with path.open("rb") as file:
        if file.read(8) != _SIGNATURE:
            return None
        kept, dropped = [_SIGNATURE], False
        chunks: list[tuple[int, int]] = []
        while len(head := file.read(8)) == 8:
            length, kind = int.from_bytes(head[:4], "big"), head[4:]
            start = file.tell() - 8
            extra = bool(kind[0] & 32) and kind not in _KEPT
            if extra and _is_harmful(kind, file.read(min(length, _LARGEST) + 4), length):
                dropped = True
            else:
                chunks.append((start, 12 + length))
            file.seek(start + 12 + length)
        if not dropped:
            return None
        for start, length in chunks:
            file.seek(start)
            kept.append(file.read(length))
    return b"".join(kept)


def _is_harmful(kind: bytes, data: bytes, length: int) -> bool:
    if kind not in _USED or length > _LARGEST and kind != b"iCCP":
        return True
    if length != _LENGTHS.get(kind, length):
        return True
    if kind == b"iTXt":
        keyword, _, rest = data.partition(b"\0")
        if rest[:1] != b"\0" or not keyword:  # compressed
            return True
    if kind == b"iCCP":
        return _unpacks_too_far(data)
    return zlib.crc32(kind + data[:length]) != int.from_bytes(data[length : length + 4], "big")


def _unpacks_too_far(data: bytes) -> bool:
    """Whether a profile is broken or larger than Pillow takes."""
    packed = data.partition(b"\0")[2][1:]
    try:
        return len(zlib.decompressobj().decompress(packed, 2**20)) >= 2**20
    except zlib.error:
        return True
