"""Video files as a good player shows them; each kind makes its own small file."""

import logging
from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.reformatter import Colorspace, VideoReformatter
from video_samples import encode_video, moving_square, numbered, numbers

from anamodiff.video.clip import read_clip
from anamodiff.video.display import Display, to_standard, turn
from anamodiff.video.letterbox import to_pixels
from anamodiff.video.sampling import ClipError

GREEN = (40, 160, 60)


def first_frame(path, **options) -> np.ndarray:
    return to_pixels(read_clip(path, **{"frames": 1, **options}).frames)[0].astype(int)


def corner_picture(height: int = 48, width: int = 64) -> np.ndarray:
    """White, with red at the top left and blue at the top right."""
    picture = np.full((height, width, 3), 255, np.uint8)
    picture[: height // 3, : width // 3] = (220, 20, 20)
    picture[: height // 3, -width // 3 :] = (20, 20, 220)
    return picture


def encode_planes(path, values, *, size=(48, 64), pixels="yuv420p", **tags):
    """A film of one colour, given as Y, U and V; `tags` are set on the encoder."""
    options = {"crf": "1"}
    with av.open(str(path), "w") as file:
        stream = file.add_stream(tags.pop("codec", "libx264"), 10, options=options)
        stream.height, stream.width, stream.pix_fmt = *size, pixels
        for name, value in tags.items():
            setattr(stream.codec_context, name, value)
        for index in range(3):
            frame = av.VideoFrame(size[1], size[0], pixels)
            for plane, value in zip(frame.planes, values, strict=True):
                plane.update(np.full(plane.buffer_size, round(value), np.uint8).tobytes())
            frame.color_range = tags.get("color_range", 0)
            frame.pts, frame.time_base = index, Fraction(1, 10)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


# Turned and mirrored


@pytest.mark.skipif(
    not hasattr(av.VideoStream, "set_display_rotation"), reason="needs PyAV 18 to write the matrix"
)
@pytest.mark.parametrize("mirror", [None, "hflip", "vflip"])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_film_is_turned_and_mirrored_by_its_matrix(tmp_path, degrees, mirror):
    picture = corner_picture()
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", 10, options={"crf": "1"})
        stream.height, stream.width, stream.pix_fmt = *picture.shape[:2], "yuv444p"
        stream.set_display_rotation(degrees, **({mirror: True} if mirror else {}))
        for index in range(2):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 10)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    expected = np.rot90(picture, degrees // 90)  # against the clock, then mirrored
    expected = {None: expected, "hflip": expected[:, ::-1], "vflip": expected[::-1]}[mirror]
    for size in (None, 16):
        frame = first_frame(path, size=size)
        if size is None:
            assert np.abs(frame - expected).max() < 40
    assert frame.shape == (16, 16, 3)


def test_every_matrix_moves_pixels_where_it_says():
    picture = corner_picture()
    centre = np.array([(picture.shape[1] - 1) / 2, (picture.shape[0] - 1) / 2])
    one = 1 << 16
    for a, b, c, d in [(1, 0, 0, 1), (-1, 0, 0, 1), (1, 0, 0, -1), (-1, 0, 0, -1),
                       (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, -1, 0), (0, -1, -1, 0)]:  # fmt: skip
        turned = turn(picture, (a * one, b * one, c * one, d * one))
        middle = np.array([(turned.shape[1] - 1) / 2, (turned.shape[0] - 1) / 2])
        for x, y in [(0, 0), (63, 0), (5, 40)]:
            u, v = np.array([x, y]) - centre
            to = np.round(np.array([a * u + c * v, b * u + d * v]) + middle).astype(int)
            np.testing.assert_array_equal(turned[to[1], to[0]], picture[y, x])


# Square pixels


@pytest.mark.parametrize(
    ("aspect", "shown"), [(Fraction(2), (48, 128)), (Fraction(1, 2), (96, 64)), (1, (48, 64))]
)
def test_pixels_are_made_square(tmp_path, aspect, shown):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", 10)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(aspect)
        frame = av.VideoFrame.from_ndarray(corner_picture(), format="rgb24")
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    assert first_frame(path).shape[:2] == shown
    clip = read_clip(path, size=32)
    assert clip.box is not None and clip.box.original == shown


def test_an_absurd_aspect_is_left_out():
    frame = av.VideoFrame(64, 48, "rgb24")
    assert Display(Fraction(1000)).show(frame).size == (48, 64)


# Colours


def weights(matrix: str) -> tuple[float, float]:
    return {"601": (0.299, 0.114), "709": (0.2126, 0.0722), "2020": (0.2627, 0.0593)}[matrix]


def to_yuv(rgb, matrix: str, full: bool) -> tuple[float, float, float]:
    red, blue = weights(matrix)
    r, g, b = (value / 255 for value in rgb)
    luma = red * r + (1 - red - blue) * g + blue * b
    u, v = (b - luma) / (2 * (1 - blue)), (r - luma) / (2 * (1 - red))
    if full:
        return 255 * luma, 128 + 255 * u, 128 + 255 * v
    return 16 + 219 * luma, 128 + 224 * u, 128 + 224 * v


@pytest.mark.parametrize(
    ("matrix", "tag", "full", "size"),
    [
        ("601", 6, False, (48, 64)),
        ("601", 6, True, (48, 64)),
        ("709", 1, False, (48, 64)),
        ("709", 1, True, (48, 64)),
        ("2020", 9, False, (48, 64)),
        ("601", None, False, (48, 64)),  # nothing named: by the size, as players guess
        ("709", None, False, (720, 1280)),
    ],
)
def test_matrix_and_range(tmp_path, matrix, tag, full, size):
    tags = {} if tag is None else {"colorspace": tag, "color_range": 2 if full else 1}
    path = encode_planes(tmp_path / "a.mp4", to_yuv(GREEN, matrix, full), size=size, **tags)
    for canvas in (None, 16):
        frame = first_frame(path, size=canvas)
        middle = frame[frame.shape[0] // 2, frame.shape[1] // 2]
        assert np.abs(middle - GREEN).max() <= 4


def pq(nits: np.ndarray) -> np.ndarray:
    power = (nits / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def hlg(nits: np.ndarray) -> np.ndarray:
    """Grey only: the display's exponent of 1.2 undone."""
    scene = (nits / 1000) ** (1 / 1.2)
    upper = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), upper)


@pytest.mark.parametrize("transfer", [16, 18])
def test_hdr_is_tone_mapped(tmp_path, transfer):
    """White of 203 cd/m2 is white, grey is grey, and highlights are white."""
    nits = np.full((48, 64), 203.0)
    nits[:16], nits[32:] = 203 * (128 / 255) ** 2.4, 600.0
    signal = np.round((pq if transfer == 16 else hlg)(nits) * 65535).astype(np.uint16)
    picture = np.repeat(signal[..., None], 3, axis=2)
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("ffv1", 10)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p10le"
        codec = stream.codec_context
        codec.color_trc, codec.color_primaries, codec.colorspace, codec.color_range = (
            transfer,
            9,
            9,
            1,
        )
        frame = av.VideoFrame.from_ndarray(picture, format="rgb48le")
        frame = VideoReformatter().reformat(
            frame, format="yuv420p10le", dst_colorspace=Colorspace.BT2020
        )
        frame.pts, frame.time_base = 0, Fraction(1, 10)
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    frame = first_frame(path)
    assert np.abs(frame[8, 32] - 128).max() <= 5
    assert frame[24, 32].min() >= 248 and frame[40, 32].min() >= 253


def test_wide_colours_keep_their_hue():
    """BT.709's green, written in BT.2020 and P3 primaries, comes back."""
    light = (np.array(GREEN) / 255) ** 2.4
    to_2020 = np.array([[0.627404, 0.329283, 0.043313], [0.069097, 0.919541, 0.011362],
                        [0.016391, 0.088013, 0.895595]])  # fmt: skip
    to_p3 = np.array([[0.822462, 0.177538, 0], [0.033194, 0.966806, 0],
                      [0.017083, 0.072397, 0.910520]])  # fmt: skip
    for matrix, name in ((to_2020, "bt2020"), (to_p3, "p3")):
        for transfer in (1, 16):
            wide = matrix @ light
            signal = pq(203 * wide) if transfer == 16 else wide ** (1 / 2.4)
            picture = np.round(65535 * signal).astype(np.uint16) * np.ones((4, 4, 1), np.uint16)
            assert np.abs(to_standard(picture, transfer, name).astype(int) - GREEN).max() <= 1


# Fields, streams, times


def test_interlaced_frames_show_one_moment(tmp_path):
    """Each frame's two fields are of two moments: a moving edge would be combed."""
    pictures = []
    for index in range(6):
        picture = np.full((96, 128, 3), 255, np.uint8)
        picture[::2, 20 + 8 * index : 60 + 8 * index] = 0
        picture[1::2, 24 + 8 * index : 64 + 8 * index] = 0
        pictures.append(picture)
    path = encode_video(
        tmp_path / "a.ts", pictures, options={"x264-params": "interlaced=1", "crf": "4"}
    )
    frame = first_frame(path, frames=2)
    assert np.abs(np.diff(frame[8:-8].astype(int), axis=0)).max() < 40
    flat = encode_video(tmp_path / "b.ts", pictures, options={"crf": "4"})
    assert np.abs(np.diff(first_frame(flat, frames=2).astype(int), axis=0)).max() > 150


def add_sound(file):
    stream = file.add_stream("aac", 48_000, layout="mono")
    return stream, av.AudioFrame.from_ndarray(
        np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
    )


def test_only_sound_is_named(tmp_path):
    with av.open(str(tmp_path / "a.m4a"), "w", format="mp4") as file:
        stream, frame = add_sound(file)
        frame.sample_rate = 48_000
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    with pytest.raises(ClipError, match="only sound"):
        read_clip(tmp_path / "a.m4a")


def test_sound_with_a_cover_is_no_film(tmp_path):
    cover = av.VideoFrame.from_ndarray(corner_picture(96, 96), format="rgb24")
    with av.open(str(tmp_path / "a.m4a"), "w", format="mp4") as file:
        sound, frame = add_sound(file)
        stream = file.add_stream("mjpeg", 10)
        stream.height, stream.width, stream.pix_fmt = 96, 96, "yuvj420p"
        stream.disposition = av.stream.Disposition.attached_pic
        frame.sample_rate, cover.pts = 48_000, 0
        packets = [*stream.encode(cover.reformat(format="yuvj420p")), *stream.encode(None)]
        for packet in [*packets, *sound.encode(frame), *sound.encode(None)]:
            file.mux(packet)
    with pytest.raises(ClipError, match="only sound with a cover"):
        read_clip(tmp_path / "a.m4a")


def mux_with_cover(path, pictures, order):
    """A film whose cover is its first or last stream."""
    cover = corner_picture(96, 96)
    with av.open(str(path), "w") as file:
        streams = {}
        for kind in order:
            stream = file.add_stream("mjpeg" if kind == "cover" else "libx264", 10)
            stream.height, stream.width = (cover if kind == "cover" else pictures[0]).shape[:2]
            stream.pix_fmt = "yuvj420p" if kind == "cover" else "yuv420p"
            streams[kind] = stream
        streams["cover"].disposition = av.stream.Disposition.attached_pic
        frame = av.VideoFrame.from_ndarray(cover, format="rgb24").reformat(format="yuvj420p")
        frame.pts = 0
        packets = [*streams["cover"].encode(frame), *streams["cover"].encode(None)]
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 10)
            packets += streams["film"].encode(frame)
        for packet in [*packets, *streams["film"].encode(None)]:
            file.mux(packet)
    return path


@pytest.mark.parametrize("order", [("cover", "film"), ("film", "cover")])
def test_the_film_is_read_and_not_its_cover(tmp_path, order):
    pictures = [numbered(index) for index in range(6)]
    clip = read_clip(mux_with_cover(tmp_path / "a.mp4", pictures, order), frames=6)
    assert clip.total == 6 and numbers(clip.frames) == list(range(6))


def test_a_film_without_decoder_is_named(tmp_path):
    path = encode_video(tmp_path / "a.mp4", [numbered(0)] * 3)
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz"))
    with pytest.raises(ClipError, match="no decoder"):
        read_clip(path)


@pytest.mark.parametrize("name", ["a.flv", "a.mkv", "a.mp4", "a.ts", "a.webm"])
def test_a_film_that_starts_late_is_whole(tmp_path, name, caplog):
    times = [200 + 100 * index for index in range(12)]
    codec = "libvpx" if name.endswith("webm") else "libx264"
    path = encode_video(tmp_path / name, [numbered(i) for i in range(12)], codec, times=times)
    with caplog.at_level(logging.WARNING):
        clip = read_clip(path, frames=12)
    assert not caplog.text and clip.total == 12 and numbers(clip.frames) == list(range(12))


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_long_hold_is_kept(tmp_path, name):
    times = [50 * index + (1950 if index >= 12 else 0) for index in range(24)]
    path = encode_video(tmp_path / name, [numbered(i) for i in range(24)], times=times)
    clip = read_clip(path, frames=32)
    assert len(clip.indices) / clip.fps == pytest.approx(3.15, abs=0.06)
    assert 18 <= clip.indices.count(11) <= 21 and clip.indices[0] == 0 and clip.indices[-1] > 20
    all_of_it = read_clip(path, frames=24)
    assert len(all_of_it.indices) / all_of_it.fps == pytest.approx(3.15, abs=0.06)
    assert all_of_it.indices.count(11) > 12, "as many frames as there are follow the clock, too"


def test_a_gifs_last_rest_is_cut_and_said(tmp_path, caplog):
    from PIL import Image

    images = [Image.fromarray(picture) for picture in moving_square(5)]
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:],
                   duration=[100, 100, 100, 100, 3000])  # fmt: skip
    with caplog.at_level(logging.INFO):
        clip = read_clip(tmp_path / "a.gif", frames=8)
    assert clip.indices == (0, 1, 2, 3, 4, 4, 4, 4) and clip.fps == pytest.approx(10)
    assert "rests on its last frame for 3.0 s" in caplog.text
    held = [1000, 100, 100, 100, 100]
    images[0].save(tmp_path / "b.gif", save_all=True, append_images=images[1:], duration=held)
    assert read_clip(tmp_path / "b.gif", frames=14).indices.count(0) == 10


def test_names_that_ffmpeg_would_take_for_addresses(tmp_path):
    for name in ("http:a.mp4", "a%03d.mp4", "concat:a|b.mp4", "ä ö.mp4"):
        path = encode_video(tmp_path / "plain.mp4", [numbered(3)] * 2)
        path = path.rename(tmp_path / name)
        assert numbers(read_clip(path, frames=2).frames) == [3, 3]


def test_a_large_film_is_converted_small(tmp_path, monkeypatch):
    """Frames are converted at no more than twice the canvas, and keep their colours."""
    picture = np.full((1080, 1920, 3), 255, np.uint8)
    picture[300:800, 600:1300] = (200, 40, 30)
    path = encode_video(tmp_path / "a.mp4", [picture] * 2, options={"preset": "ultrafast"})
    made, reformat = [], Display._reformat

    def note(self, frame, layout, **options):
        made.append((options["height"], options["width"]))
        return reformat(self, frame, layout, **options)

    monkeypatch.setattr(Display, "_reformat", note)
    clip = read_clip(path, frames=1, size=64)
    assert made == [(72, 128)]
    assert clip.box is not None and clip.box.original == (1080, 1920)
    assert np.abs(to_pixels(clip.frames)[0, 32, 32].astype(int) - (200, 40, 30)).max() <= 6
