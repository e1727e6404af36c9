"""Small valid files of many formats, and random damage to them: all of it decided by a seed."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

#: Numbers at which sizes, counts and offsets overflow or change their sign.
EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 60_000, 2**31 - 1, 2**31, 2**32 - 1)
VIDEOS = {
    "mp4": "libx264", "mov": "mpeg4", "mkv": "libx264", "avi": "mpeg4", "webm": "libvpx-vp9",
    "mpg": "mpeg1video", "ts": "mpeg2video", "flv": "flv1",
}  # fmt: skip


def valid_files(folder: Path) -> list[Path]:
    """Write one small file of each format that is read; returns their paths, by name."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = _pictures(8, 48, 64)
    images = [Image.fromarray(picture) for picture in pictures]
    for name in ("a.gif", "a.webp", "a.png", "a.tiff", "a.avif"):
        images[0].save(folder / name, save_all=True, append_images=images[1:], duration=80)
    for name in ("still.png", "still.jpg", "still.bmp", "still.ppm", "still.webp", "still.gif"):
        images[0].save(folder / name)
    for kind in ("tiff_lzw", "jpeg", "packbits", "tiff_adobe_deflate"):
        images[0].save(folder / f"{kind}.tiff", compression=kind)
    Image.fromarray(np.concatenate([p[:, :48] for p in pictures], axis=1)).save(
        folder / "strip.png"
    )
    images[0].convert("RGBA").quantize(16).save(folder / "palette.png", transparency=3)
    for suffix, codec in VIDEOS.items():
        _encode(folder / f"a.{suffix}", codec, pictures)
    return sorted(folder.iterdir())


def _pictures(count: int, height: int, width: int) -> np.ndarray:
    """A square that crosses a plain ground with a little noise: bytes `f h w 3`."""
    noise = np.random.default_rng(0).integers(0, 6, (count, height, width, 3), dtype=np.uint8)
    pictures = 235 - noise
    for index in range(count):
        pictures[index, 16:32, 4 + 5 * index : 16 + 5 * index] = (200, 40 + 10 * index, 30)
    return pictures


def _encode(path: Path, codec: str, pictures: np.ndarray) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, Fraction(25))
        stream.height, stream.width, stream.pix_fmt = *pictures.shape[1:3], "yuv420p"
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def damaged(seed: int, whole: dict[str, bytes]) -> tuple[str, bytes]:
    """A file name with its original's suffix or another, and the damaged bytes, for a seed.

    Args:
        whole: contents of valid files, by name.
    """
    rng = random.Random(seed)
    name = rng.choice(sorted(whole))
    data = bytearray(whole[name])
    if rng.random() < 0.25:
        data = structured(name, data, rng)
    for _ in range(rng.choice((1, 1, 2, 4, 8, 32))):
        data = rng.choice(DAMAGE)(data, rng, whole)
    suffix = Path(rng.choice(sorted(whole)) if rng.random() < 0.05 else name).suffix
    return f"{seed}{suffix}", bytes(data)


Whole = dict[str, bytes]


def _place(data: bytearray, rng: random.Random, length: int = 1) -> int:
    """A place in the file; a third of the time in its first 256 bytes, where headers are."""
    end = max(1, len(data) - length + 1)
    return rng.randrange(min(end, 256) if rng.random() < 0.33 else end)


def _flip_bit(data: bytearray, rng: random.Random, _: Whole) -> bytearray:
    if data:
        data[_place(data, rng)] ^= 1 << rng.randrange(8)
    return data


def _set_number(data: bytearray, rng: random.Random, _: Whole) -> bytearray:
    form = rng.choice(("B", "<H", ">H", "<I", ">I"))
    size = struct.calcsize(form)
    place = _place(data, rng, size)
    value = rng.choice(EDGES) if rng.random() < 0.8 else rng.randrange(2**32)
    data[place : place + size] = struct.pack(form, value % 256**size)
    return data


def _cut_end(data: bytearray, rng: random.Random, _: Whole) -> bytearray:
    return data[: _place(data, rng)]


def _cut_out(data: bytearray, rng: random.Random, _: Whole) -> bytearray:
    place = _place(data, rng)
    del data[place : place + rng.choice((1, 2, 4, 16, 256, 2000))]
    return data


def _repeat(data: bytearray, rng: random.Random, _: Whole) -> bytearray:
    place = _place(data, rng)
    part = data[place : place + rng.choice((1, 4, 16, 256, 2000))]
    data[place:place] = part * rng.choice((1, 2, 20))
    return data


def _noise(data: bytearray, rng: random.Random, _: Whole) -> bytearray:
    place, length = _place(data, rng), rng.choice((1, 4, 16, 256, 2000))
    data[place : place + length] = rng.randbytes(length)
    return data


def _zeros(data: bytearray, rng: random.Random, _: Whole) -> bytearray:
    place, length = _place(data, rng), rng.choice((4, 64, 1000))
    data[place : place + length] = bytes(length)
    return data


def _swap(data: bytearray, rng: random.Random, _: Whole) -> bytearray:
    length = rng.choice((4, 16, 64, 500))
    a, b = sorted((_place(data, rng, length), _place(data, rng, length)))
    data[a : a + length], data[b : b + length] = data[b : b + length], data[a : a + length]
    return data


def _splice(data: bytearray, rng: random.Random, whole: Whole) -> bytearray:
    """The beginning of one file and the end of another."""
    other = whole[rng.choice(sorted(whole))]
    return data[: _place(data, rng)] + other[rng.randrange(len(other)) :]


DAMAGE: tuple[Callable[[bytearray, random.Random, Whole], bytearray], ...] = (
    _flip_bit, _flip_bit, _set_number, _set_number, _set_number, _cut_end, _cut_out, _repeat,
    _noise, _zeros, _swap, _splice,
)  # fmt: skip


def structured(name: str, data: bytearray, rng: random.Random) -> bytearray:
    """One field of a header changed so that checksums still hold."""
    if data[:4] == b"\x89PNG":
        return _png_field(data, rng)
    if data[:3] == b"GIF":
        place = rng.choice((6, 8, *_all(data, b"\x2c")))
        place = place if place < 10 else place + rng.choice((1, 3, 5, 7))
        data[place : place + 2] = struct.pack("<H", rng.choice(EDGES) % 65536)
    elif data[4:8] == b"ftyp":
        boxes = (b"tkhd", b"mdhd", b"stsd", b"stts", b"stsz", b"stco", b"stsc", b"stss", b"elst")
        if found := _all(data, rng.choice(boxes)):
            place = found[0] + 4 * rng.randrange(-1, 16)
            data[place : place + 4] = struct.pack(">I", rng.choice(EDGES))
    elif data[:2] in (b"II", b"MM"):
        order = "<" if data[:2] == b"II" else ">"
        start = struct.unpack_from(f"{order}I", data, 4)[0]
        entry = start + 2 + 12 * rng.randrange(12)
        if entry + 12 <= len(data):
            struct.pack_into(f"{order}I", data, entry + rng.choice((4, 8)), rng.choice(EDGES))
    elif data[:4] == b"RIFF":
        place = 12 + 4 * rng.randrange(20)
        data[place : place + 4] = struct.pack("<I", rng.choice(EDGES))
    return data


def _png_field(data: bytearray, rng: random.Random) -> bytearray:
    """Change one number in a PNG chunk and correct its checksum."""
    chunks, place = [], 8
    while place + 12 <= len(data):
        length = struct.unpack_from(">I", data, place)[0]
        chunks.append((place, length))
        place += 12 + length
    place, length = rng.choice(chunks)
    if length >= 4:
        field = place + 8 + 4 * rng.randrange(min(7, length // 4))
        struct.pack_into(">I", data, field, rng.choice(EDGES))
        check = zlib.crc32(data[place + 4 : place + 8 + length])
        struct.pack_into(">I", data, place + 8 + length, check)
    return data


def _all(data: bytearray, what: bytes) -> list[int]:
    """The first few places of some bytes."""
    found, place = [], data.find(what)
    while place >= 0 and len(found) < 20:
        found.append(place)
        place = data.find(what, place + 1)
    return found
