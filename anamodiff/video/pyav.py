"""Video files through PyAV: mp4, webm and whatever else FFmpeg decodes; mp4 and webm written.

PyAV is used directly, not through imageio: imageio reads whole videos or converts every frame it
passes, and its writer breaks with PyAV 18. This file works with PyAV 17 and 18; 15 and 16 ignore
the matrix of BT.709 (HD) videos and shift their colours.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from anamodiff.video.display import Display
from anamodiff.video.picture import Picture
from anamodiff.video.pillow import MOST_PIXELS, too_large
from anamodiff.video.sampling import (
    DEFAULT_FPS,
    ClipError,
    FrameSource,
    Unreadable,
    warn_damaged,
)
from anamodiff.video.streams import NoFilm, main_stream

# Low CRF: these clips are small, looked at closely and cited. No macroblock trees: their AVX-512
# code makes x264 write other bytes from run to run (small pictures).
_H264 = "libx264", {"crf": "14", "preset": "medium", "x264-params": "no-mbtree=1"}

# Matroska gives every file a random number, unless told to be exact.
_MATROSKA = {"fflags": "+bitexact"}

#: Suffix to encoder and options.
ENCODERS = {
    **dict.fromkeys((".mp4", ".m4v", ".mov"), (*_H264, {"movflags": "+faststart"})),
    ".mkv": (*_H264, _MATROSKA),
    ".webm": (
        "libvpx-vp9",
        {"crf": "18", "b": "0", "deadline": "good", "cpu-used": "4"},
        _MATROSKA,
    ),
}

# Playlists, and other lists of files and addresses to read on from, may never end; any bytes with
# the right suffix are text for a terminal, or bare pixels.
_LISTS = {"hls", "dash", "concat", "image2", "imf", "rtsp", "sdp", "webm_dash_manifest"}
_ANYTHING = {"bin", "xbin", "adf", "idf", "tty", "rawvideo", "v210", "v210x", "bitpacked"}
_ONLY_FILES = {
    "protocol_whitelist": "file",
    "format_whitelist": ",".join(sorted(av.formats_available - _LISTS - _ANYTHING)),
}

#: Decoders that give the transparency which FFmpeg's own leave out.
_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


@dataclass(frozen=True)
class Index:
    """A video's frames as its packets list them, in order of display.

    `timestamps` and `keys` (frames that decode without others) are in the stream's time base,
    `durations` in seconds; `promised` is the count in the header, 0 where it has none;
    `cut` says that the header promises more than there is.
    """

    timestamps: tuple[int, ...]
    keys: tuple[int, ...]
    durations: tuple[float, ...]
    promised: int
    cut: bool


def open_video(path: Path, role: str) -> FrameSource:
    """The frames of a video file; raises `ClipError` where nothing can be decoded.

    The packets are listed without decoding them, since headers may lie about the count.
    """
    try:
        index = _list_packets(path)
    except NoFilm as lack:
        raise ClipError(f"expected a {role}, got {lack.got}: {path}; {lack.cure}") from None
    except (av.error.FFmpegError, EOFError, OSError):
        raise _undecodable(path, role) from None

    def recount() -> FrameSource:
        return _count_by_decoding(path, role, index.promised if index else 0)

    if index is None or not index.timestamps:
        return recount()
    if index.cut:
        warn_damaged(path, len(index.timestamps), index.promised)

    def pictures(indices: Sequence[int], size: int | None) -> Iterator[Picture]:
        return _decode_at([index.timestamps[i] for i in indices], index.keys, path, size)

    return FrameSource(index.durations, pictures, recount)


def _undecodable(path: Path, role: str) -> ClipError:
    return ClipError(
        f"expected a {role} that can be decoded (mp4, webm, gif, webp, png ...), got a damaged, "
        f"truncated or unknown file: {path}; check that it plays, or export it anew"
    )


def _open(path: Path) -> av.container.InputContainer:
    # The name alone: FFmpeg would take `http:x` and `concat:x` for streams elsewhere.
    return av.open(f"file:{path}", metadata_errors="ignore", options=dict(_ONLY_FILES))


def _stream(container: av.container.InputContainer) -> av.VideoStream:
    """The main picture stream; only large pictures are worth more than this thread."""
    stream = main_stream(container)
    if stream.width * stream.height > MOST_PIXELS:
        raise too_large(Path(container.name.removeprefix("file:")), "clip")
    stream.thread_type = "AUTO" if stream.width * stream.height > 10**6 else "NONE"
    return stream


def _list_packets(path: Path) -> Index | None:
    """List a video's frames; None where packets carry no usable times, as in some avi files."""
    timestamps, keys, hidden = [], [], 0
    latest, last = None, None
    with _open(path) as container:
        stream = _stream(container)
        if _has_alpha_plane(stream):
            return None  # needs another decoder than the one that seeks
        for packet in _packets(container, stream):
            if packet.pts is None:
                return None
            if packet.is_discard:  # cut away by the file's edit list
                hidden += 1
                continue
            if latest is None or packet.pts > latest:
                latest, last = packet.pts, packet.duration
            timestamps.append(packet.pts)
            if packet.is_keyframe:
                keys.append(packet.pts)
        if not timestamps or len(set(timestamps)) < len(timestamps):
            return None
        timestamps, keys = sorted(timestamps), sorted(keys)
        durations = _durations(timestamps, stream, last)
        promised = max(0, stream.frames - hidden)
        # Some headers count from zero, however late the first frame is.
        end = timestamps[-1] * float(stream.time_base) + durations[-1]
        seconds = max(end, sum(durations))
        cut = len(timestamps) < promised or _ends_early(container, seconds)
        return Index(tuple(timestamps), tuple(keys), durations, promised, cut)


def _packets(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.Packet]:
    """Whole packets up to the end of the file or the place where it is cut."""
    try:
        for packet in container.demux(stream):
            if packet.size and not packet.is_corrupt:
                yield packet
    except (av.error.FFmpegError, IndexError):  # of a stream that is not in the header
        return


def _ends_early(container: av.container.InputContainer, seconds: float) -> bool:
    """Whether a video without sound is much shorter than its header says (webm has no count)."""
    if len(container.streams) > 1 or not container.duration:
        return False
    return seconds < 0.9 * container.duration / av.time_base


def _durations(
    timestamps: Sequence[int | None], stream: av.VideoStream, last: int | None
) -> tuple[float, ...]:
    """Seconds that each frame is shown: until the next one, by the rate where times are unusable.

    The last is shown for `last` ticks, where the file says that it rests, else as long as most.
    """
    rate = stream.average_rate or stream.guessed_rate
    steps = np.diff(timestamps) * float(stream.time_base) if None not in timestamps else np.zeros(0)
    if not len(steps) or steps.min() <= 0:
        return (float(1 / rate) if rate else 1 / DEFAULT_FPS,) * len(timestamps)
    # Many a file gives it the time of another rate, which is too short.
    rest = max((last or 0) * float(stream.time_base), float(np.median(steps)))
    return (*(float(step) for step in steps), rest)


def _decode_at(
    timestamps: Sequence[int], keys: Sequence[int], path: Path, size: int | None
) -> Iterator[Picture]:
    """Yield the frames shown at ascending `timestamps`, seeking wherever that skips a key frame.

    Raises `Unreadable` where one is missing or the decoder numbers frames otherwise.
    """
    with _open(path) as container:
        stream = _stream(container)
        display = Display(stream.sample_aspect_ratio)
        frames, now = _frames(container, stream), None
        for timestamp in timestamps:
            key = bisect_right(keys, timestamp) - 1
            if now is not None and key >= 0 and keys[key] > now:
                try:
                    container.seek(keys[key], stream=stream)
                except av.error.FFmpegError:
                    raise Unreadable(path) from None
                frames = _frames(container, stream)
            for frame in frames:
                now = frame.pts
                if now is None or now >= timestamp:
                    break
            if now != timestamp:
                raise Unreadable(path)
            yield display.show(frame, size)


def _count_by_decoding(path: Path, role: str, promised: int) -> FrameSource:
    """The frames that the decoder gives, reading from the start each time."""
    with _open(path) as container:
        stream = _stream(container)
        times = [(frame.pts, frame.duration) for frame in _frames(container, stream)]
        timestamps = [pts for pts, _ in times]
        durations = _durations(timestamps, stream, times[-1][1] if times else None)
    if not timestamps:
        raise _undecodable(path, role)
    if len(timestamps) < promised:
        warn_damaged(path, len(timestamps), promised)

    def pictures(indices: Sequence[int], size: int | None) -> Iterator[Picture]:
        wanted = iter(indices)
        following = next(wanted, None)
        with _open(path) as container:
            stream = _stream(container)
            display = Display(stream.sample_aspect_ratio)
            for count, frame in enumerate(_frames(container, stream)):
                if following is None:
                    return
                if count == following:
                    yield display.show(frame, size)
                    following = next(wanted, None)

    return FrameSource(durations, pictures)


def _has_alpha_plane(stream: av.VideoStream) -> bool:
    """Whether a webm or mkv says so; some muxers write the word in capitals."""
    facts = {key.lower(): value for key, value in stream.metadata.items()}
    return facts.get("alpha_mode") == "1"


def _frames(
    container: av.container.InputContainer, stream: av.VideoStream
) -> Iterator[av.VideoFrame]:
    """Decoded frames in order of display; damaged packets are stepped over."""
    decoder = stream.codec_context
    if _has_alpha_plane(stream) and decoder.name in _WITH_ALPHA:
        decoder = av.CodecContext.create(_WITH_ALPHA[decoder.name], "r")
    for packet in chain(_packets(container, stream), [None]):  # None: what the decoder still holds
        try:
            decoded = decoder.decode(packet)
        except EOFError:
            return
        except av.error.FFmpegError:
            continue
        yield from (frame for frame in decoded if not frame.is_corrupt)


def encode_video(path: Path, pictures: Sequence[np.ndarray], fps: float) -> None:
    """Encode bytes `h w 3` each by the path's suffix, one of `ENCODERS`; odd sizes are padded.

    The colour matrix is BT.601 and stored as such: without it, players guess from the size.
    """
    encoder, options, container_options = ENCODERS[path.suffix.lower()]
    height, width = pictures[0].shape[:2]
    odd = (0, height % 2), (0, width % 2), (0, 0)
    to_yuv = VideoReformatter()
    with av.open(str(path), "w", options=container_options) as container:
        stream = container.add_stream(encoder, Fraction(fps).limit_denominator(1001), options)
        stream.height, stream.width = height + height % 2, width + width % 2
        stream.pix_fmt = "yuv420p"
        stream.codec_context.colorspace = 6  # AVCOL_SPC_SMPTE170M, BT.601
        stream.codec_context.color_range = 1  # AVCOL_RANGE_MPEG, 16 to 235
        for count, picture in enumerate(pictures):
            padded = np.ascontiguousarray(np.pad(picture, odd, mode="edge"))
            frame = av.VideoFrame.from_ndarray(padded, format="rgb24")
            frame = to_yuv.reformat(
                frame, format="yuv420p", dst_colorspace="ITU601", interpolation="AREA"
            )
            frame.pts, frame.time_base = count, 1 / stream.codec_context.framerate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
