"""Pictures and files that the video tests make for themselves."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

BITS = 12


def numbered(index: int, height: int = 48, width: int = 104) -> np.ndarray:
    """A white picture that carries `index` as twelve dark or light blocks: bytes `h w 3`."""
    picture = np.full((height, width, 3), 255, dtype=np.uint8)
    for bit in range(BITS):
        picture[8:40, 4 + 8 * bit : 12 + 8 * bit] = 0 if index >> bit & 1 else 200
    return picture


def number(frame) -> int:
    """Read `numbered` back from a frame `3 h w` in [-1, 1]."""
    dark = (frame.mean(0)[16:32] < -0.2).float().mean(0)
    return sum(int(dark[6 + 8 * bit : 10 + 8 * bit].mean() > 0.5) << bit for bit in range(BITS))


def numbers(frames) -> list[int]:
    return [number(frame) for frame in frames]


def moving_square(count: int, height: int = 40, width: int = 40) -> np.ndarray:
    """A red square that crosses a white ground: bytes `f h w 3`."""
    pictures = np.full((count, height, width, 3), 255, dtype=np.uint8)
    for index in range(count):
        left = 4 + index * (width - 16) // max(1, count - 1)
        pictures[index, 14:24, left : left + 8] = (200, 30, 20)
    return pictures


def encode_video(
    path: Path,
    pictures: Sequence[np.ndarray],
    codec: str = "libx264",
    *,
    fps: int = 25,
    pixels: str = "yuv420p",
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
    matrix: tuple[str, int] = ("ITU601", 6),
    times: Sequence[int] | None = None,
) -> Path:
    """Encode pictures `h w 3` or `h w 4`; `times` are milliseconds instead of a steady rate."""
    clock = Fraction(1, 1000 if times else fps)
    reformat = VideoReformatter().reformat
    with av.open(str(path), "w", options=container or {}) as file:
        stream = file.add_stream(codec, fps, options=options or {})
        stream.height, stream.width, stream.pix_fmt = *pictures[0].shape[:2], pixels
        stream.codec_context.time_base = clock
        stream.codec_context.colorspace = matrix[1]
        for index, picture in enumerate(pictures):
            layout = "rgb24" if picture.shape[2] == 3 else "rgba"
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format=layout)
            if pixels.startswith("yuv"):
                frame = reformat(frame, format=pixels, dst_colorspace=matrix[0])
            frame.pts, frame.time_base = times[index] if times else index, clock
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def turn_clockwise(path: Path, height: int) -> None:
    """Set an mp4's display matrix to a quarter turn, as telephones do."""
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 44
    one, last = 1 << 16, 1 << 30
    data[start : start + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, height * one, 0, last)
    path.write_bytes(data)


def gif(
    size: tuple[int, int],
    palette: Sequence[tuple[int, int, int]],
    frames: Sequence[dict],
) -> bytes:
    """Assemble a gif by hand, so that nothing tidies its frames.

    Each frame is a dict: `at` (x, y), `pixels` (palette indices `h w`), `disposal`, `delay` in
    hundredths of a second, `clear` (transparent index or None).
    """
    table = np.zeros((128, 3), dtype=np.uint8)
    table[: len(palette)] = palette
    width, height = size
    out = b"GIF89a" + struct.pack("<HHBBB", width, height, 0xF6, 0, 0) + table.tobytes()
    for frame in frames:
        clear = frame.get("clear")
        flags = frame.get("disposal", 0) << 2 | (clear is not None)
        out += b"\x21\xf9\x04" + struct.pack("<BHBB", flags, frame["delay"], clear or 0, 0)
        pixels = np.asarray(frame["pixels"], dtype=np.uint8)
        rows, columns = pixels.shape
        out += b"\x2c" + struct.pack("<HHHHB", *frame.get("at", (0, 0)), columns, rows, 0)
        out += b"\x07" + _blocks(_codes(pixels.tobytes()))
    return out + b";"


def _codes(pixels: bytes) -> bytes:
    """LZW that never compresses: codes stay 8 bits wide if the table is cleared in time."""
    runs = (pixels[start : start + 120] for start in range(0, len(pixels), 120))
    return b"".join(b"\x80" + run for run in runs) + b"\x81"


def _blocks(data: bytes) -> bytes:
    parts = (data[start : start + 255] for start in range(0, len(data), 255))
    return b"".join(bytes([len(part)]) + part for part in parts) + b"\0"
