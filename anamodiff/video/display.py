"""Decoded video frames as a good player shows them: deinterlaced, in standard colours, upright.

Colours: the frame's own matrix and range, BT.709 for high definition where it names none; wide
gamuts and HDR (PQ and HLG, ITU-R BT.2100) are converted to BT.709.
"""

from __future__ import annotations

import struct
from fractions import Fraction
from functools import cache
from typing import Any

import av
import numpy as np
from av.filter import Graph
from av.video.reformatter import Interpolation, VideoReformatter

from anamodiff.video.picture import Picture
from anamodiff.video.sampling import Unreadable

# Numbers of ITU-T H.273, as FFmpeg's AVColorSpace, -Transfer and -Primaries have them.
_UNSPECIFIED, _BT2020 = 2, 9
_PQ, _HLG = 16, 18
_WIDE = {_BT2020: "bt2020", 11: "dci", 12: "p3"}
# Linear RGB of wide primaries to that of BT.709, white kept.
_TO_BT709 = {
    "bt2020": ((1.660491, -0.587641, -0.072850), (-0.124550, 1.132900, -0.008349),
               (-0.018151, -0.100579, 1.118730)),
    "p3": ((1.224940, -0.224940, 0.0), (-0.042057, 1.042057, 0.0),
           (-0.019638, -0.078636, 1.098274)),
}  # fmt: skip
_TO_BT709["dci"] = _TO_BT709["p3"]  # shown with a monitor's white
_BT2020_LUMINANCE = (0.2627, 0.6780, 0.0593)
# The white of standard pictures, in cd/m2, and HLG's nominal peak (ITU-R BT.2408).
_WHITE, _HLG_PEAK = 203.0, 1000.0
#: The exponent of a standard display (ITU-R BT.1886).
_GAMMA = 2.4
_PLAUSIBLE_ASPECT = 10
_ROWS = 128  # of a picture whose colours are converted at once, to bound memory


class Display:
    """Shows the frames of one stream.

    PyAV's own reformatter lives as long as the thread, with workers that dead-lock a later fork
    (a data loader's): this has its own.

    Args:
        aspect: width of the stream's pixels over their height, None where it names none.
    """

    def __init__(self, aspect: Fraction | None) -> None:
        self._to_rgb = VideoReformatter()
        plausible = aspect and 1 / _PLAUSIBLE_ASPECT <= aspect <= _PLAUSIBLE_ASPECT
        self._aspect = float(aspect) if aspect and plausible else 1.0

    def show(self, frame: av.VideoFrame, size: int | None = None) -> Picture:
        """A frame as it is seen.

        Args:
            size: side of the canvas it is for; a frame more than twice as large is made smaller.
        """
        matrix = _display_matrix(frame)
        if frame.interlaced_frame:
            frame = _deinterlace(frame)
        height, width = frame.height, frame.width
        shown = (height, round(width * self._aspect))
        if self._aspect < 1:
            shown = (round(height / self._aspect), width)
        pixels = self._pixels(frame, size)
        pixels = turn(pixels, matrix)
        a, b = matrix[:2]
        return Picture.of(pixels, shown if abs(a) >= abs(b) else (shown[1], shown[0]))

    def _pixels(self, frame: av.VideoFrame, size: int | None) -> np.ndarray:
        """Bytes `h w 3` of a frame for a canvas of `size`; 4 where it has alpha."""
        if any(component.is_alpha for component in frame.format.components):
            # In its own size: the scaler mixes colours of hidden pixels into their neighbours.
            return self._reformat(frame, "rgba", **_matrix(frame))
        height, width = to = _reduced(frame.height, frame.width, size)
        options: dict[str, Any] = {"height": height, "width": width, **_matrix(frame)}
        if to != (frame.height, frame.width):
            options["interpolation"] = Interpolation.AREA
        primaries = _WIDE.get(frame.color_primaries)
        if frame.color_trc in (_PQ, _HLG) or primaries:
            wide = self._reformat(frame, "rgb48le", **options)
            return to_standard(wide, frame.color_trc, primaries or "bt2020")
        return self._reformat(frame, "rgb24", **options)

    def _reformat(self, frame: av.VideoFrame, layout: str, **options: Any) -> np.ndarray:
        """A frame in another layout; raises `Unreadable` for one that the scaler does not take."""
        # Second, for a matrix that it does not know: BT.601 is nearer than nothing.
        for matrix in ({}, {"src_colorspace": "ITU601"}):
            try:
                made = self._to_rgb.reformat(frame, format=layout, **options | matrix)
                return made.to_ndarray()
            except (av.error.FFmpegError, NotImplementedError, ValueError):
                continue
        raise Unreadable(frame.format.name)


def _reduced(height: int, width: int, size: int | None) -> tuple[int, int]:
    """The size at which a frame is converted: its longer side at least twice the canvas's."""
    scale = 1 if size is None else 2 * size / max(height, width)
    if scale >= 1:
        return height, width
    return max(1, round(height * scale)), max(1, round(width * scale))


def _matrix(frame: av.VideoFrame) -> dict[str, str]:
    """The matrix to tell the scaler, where the frame's own is missing."""
    if frame.colorspace != _UNSPECIFIED or frame.format.is_rgb:
        return {}
    if frame.color_primaries == _BT2020:
        return {"src_colorspace": "BT2020"}
    high = frame.width >= 1280 or frame.height > 576
    return {"src_colorspace": "ITU709" if high else "ITU601"}


def _display_matrix(frame: av.VideoFrame) -> tuple[int, int, int, int]:
    """(a, b, c, d): a pixel at (x, y) is shown at (a x + c y, b x + d y), but for a shift."""
    try:
        data = bytes(frame.side_data["DISPLAYMATRIX"])
        a, b, _, c, d = struct.unpack("=5i", data[:20])
    except (KeyError, ValueError, struct.error):  # none; or beside data that PyAV does not know
        turns = round(frame.rotation / 90) % 4
        a, b, c, d = [(1, 0, 0, 1), (0, -1, 1, 0), (-1, 0, 0, -1), (0, 1, -1, 0)][turns]
    return (a, b, c, d) if a or b else (1, 0, 0, 1)


def turn(picture: np.ndarray, matrix: tuple[int, int, int, int]) -> np.ndarray:
    """Turn and mirror a picture `h w c` as a display matrix (a, b, c, d) says, to the quarter."""
    a, b, c, d = matrix
    across, down = a, d
    if abs(b) > abs(a):
        picture, across, down = np.swapaxes(picture, 0, 1), c, b
    picture = picture[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1]
    return np.ascontiguousarray(picture)


def _deinterlace(frame: av.VideoFrame) -> av.VideoFrame:
    """One field of a frame, its lines filled in from itself alone.

    The filters that look at other frames would need those beside every sampled one.
    """
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format,
        time_base=frame.time_base or Fraction(1, 1000),
    )  # fmt: skip
    graph.link_nodes(source, graph.add("estdif", "mode=frame"), graph.add("buffersink"))
    try:
        graph.configure()
        graph.vpush(frame)
        graph.vpush(None)
        return graph.vpull()
    except (av.error.FFmpegError, EOFError, ValueError):  # a layout that the filter does not take
        return frame


def to_standard(picture: np.ndarray, transfer: int, primaries: str) -> np.ndarray:
    """A picture in wide or high-dynamic-range colours as one for a standard display.

    The white of standard pictures inside HDR (203 cd/m2, ITU-R BT.2408) becomes white, what is
    brighter is clipped: grounds stay white and colours of things keep their saturation.

    Args:
        picture: RGB, 16 bits, `h w 3`.
        transfer: number of the transfer function; all but PQ and HLG are a display's.
        primaries: `bt2020`, `p3` or `dci`.

    Returns:
        RGB bytes `h w 3` in BT.709.
    """
    table, to_bt709 = _linear(transfer), np.array(_TO_BT709[primaries], np.float32).T
    out = np.empty(picture.shape, np.uint8)
    for first in range(0, len(picture), _ROWS):
        light = table[picture[first : first + _ROWS]]
        if transfer == _HLG:  # the display's own exponent, on luminance
            luminance = light @ np.array(_BT2020_LUMINANCE, np.float32)
            light = light * (_HLG_PEAK / _WHITE * luminance**0.2)[..., None]
        light = np.clip(light @ to_bt709, 0, 1) ** np.float32(1 / _GAMMA)
        out[first : first + _ROWS] = np.round(255 * light).astype(np.uint8)
    return out


@cache
def _linear(transfer: int) -> np.ndarray:
    """Light of each 16-bit value; 1 is white, but for HLG, where it is the scene's peak."""
    value = np.arange(65536, dtype=np.float64) / 65535
    if transfer == _PQ:
        root = value ** (1 / 78.84375)
        share = np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)
        return (share ** (1 / 0.1593017578125) * 10_000 / _WHITE).astype(np.float32)
    if transfer == _HLG:
        upper = (np.exp((value - 0.55991073) / 0.17883277) + 0.28466892) / 12
        return np.where(value <= 0.5, value**2 / 3, upper).astype(np.float32)
    return (value**_GAMMA).astype(np.float32)
