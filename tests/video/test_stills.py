"""Pictures as people have them; each kind makes its own small file."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin
from video_samples import moving_square, numbered, numbers

from anamodiff.video import rgb
from anamodiff.video.clip import read_clip
from anamodiff.video.folder import list_frames
from anamodiff.video.letterbox import to_pixels
from anamodiff.video.sampling import ClipError
from anamodiff.video.strips import cut_strip


def read(path, **options) -> np.ndarray:
    """The first frame as whole numbers."""
    return to_pixels(read_clip(path, **options).frames)[0].astype(int)


def corner_picture(height: int = 48, width: int = 64) -> np.ndarray:
    picture = np.full((height, width, 3), 255, np.uint8)
    picture[: height // 3, : width // 3] = (220, 20, 20)
    picture[: height // 3, -width // 3 :] = (20, 20, 220)
    return picture


# Upright


def shown_by_orientation(picture: np.ndarray, orientation: int) -> np.ndarray:
    """What the numbers of EXIF mean: where the stored rows and columns go."""
    return {
        1: picture,
        2: picture[:, ::-1],
        3: picture[::-1, ::-1],
        4: picture[::-1],
        5: picture.swapaxes(0, 1),
        6: np.rot90(picture, -1),
        7: picture[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(picture, 1),
    }[orientation]


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(tmp_path, name, orientation):
    picture = corner_picture()
    exif = Image.Exif()
    exif[274] = orientation
    options = {"a.webp": {"lossless": True}, "a.jpg": {"quality": 98, "subsampling": 0}}
    Image.fromarray(picture).save(tmp_path / name, exif=exif.tobytes(), **options.get(name, {}))
    expected = shown_by_orientation(picture, orientation)
    assert np.abs(read(tmp_path / name) - expected).max() <= 12
    clip = read_clip(tmp_path / name, size=16)
    assert clip.box is not None and clip.box.original == expected.shape[:2]
    assert np.abs(to_pixels(clip.frames)[0].astype(int).mean() - expected.mean()) < 40


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_photo_is_decoded_small_and_keeps_its_size(tmp_path, monkeypatch, orientation):
    """A JPEG of 12 megapixels never becomes 36 million numbers."""
    picture = cv2.resize(corner_picture(), (4032, 3024), interpolation=cv2.INTER_NEAREST)
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(picture).save(tmp_path / "a.jpg", exif=exif.tobytes(), quality=90)
    sizes, load = [], rgb.load
    monkeypatch.setattr(rgb, "load", lambda image: sizes.append(image.size) or load(image))
    clip = read_clip(tmp_path / "a.jpg", size=128)
    assert sizes == [(504, 378)]
    upright = shown_by_orientation(picture, orientation)
    assert clip.box is not None and clip.box.original == upright.shape[:2]
    small = cv2.resize(upright, (clip.box.width, clip.box.height), interpolation=cv2.INTER_AREA)
    rows = slice(clip.box.top, clip.box.top + clip.box.height)
    columns = slice(clip.box.left, clip.box.left + clip.box.width)
    inner = to_pixels(clip.frames)[0][rows, columns].astype(int)
    assert np.abs(inner - small).mean() < 2


# Standard colours


def profile_of(name: str) -> bytes:
    """A profile of RGB with other primaries, or of grey, made by hand: no file is needed."""
    if name == "broken":
        return b"no profile at all" * 20
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    table = {}
    for index in range(struct.unpack(">I", data[128:132])[0]):
        tag, start, length = struct.unpack(">4sII", data[132 + 12 * index : 144 + 12 * index])
        table[tag] = start, length
    # Red and green of BT.2020, adapted to D50, which the colours of sRGB are well inside.
    for tag, xyz in {b"rXYZ": (0.6734, 0.2790, -0.0019), b"gXYZ": (0.1656, 0.6753, 0.0300),
                     b"bXYZ": (0.1251, 0.0456, 0.7969)}.items():  # fmt: skip
        start, _ = table[tag]
        data[start + 8 : start + 20] = struct.pack(">3i", *(round(65536 * x) for x in xyz))
    start, length = table[b"desc"]
    name = data[start : start + length].replace(b"\0s\0R\0G\0B", b"\0w\0i\0d\0e")
    data[start : start + length] = name
    return bytes(data)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.tif"])
def test_a_profile_is_converted(tmp_path, name):
    profile = profile_of("wide")
    picture = np.full((16, 16, 3), (90, 150, 70), np.uint8)
    options = {"a.webp": {"lossless": True}, "a.jpg": {"quality": 98, "subsampling": 0}}
    Image.fromarray(picture).save(tmp_path / name, icc_profile=profile, **options.get(name, {}))
    found = read(tmp_path / name)[8, 8]
    assert found[0] < 80 and found[1] > 150, "a wide green is greener in sRGB"
    Image.fromarray(picture).save(
        tmp_path / name, icc_profile=profile_of("broken"), **options.get(name, {})
    )
    assert np.abs(read(tmp_path / name)[8, 8] - (90, 150, 70)).max() <= 3


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "I;16"])
def test_a_png_s_own_gamma_is_shown(tmp_path, mode):
    light = 0.25 * (65535 if mode == "I;16" else 255)
    picture = np.full((16, 16), light, np.uint16 if mode == "I;16" else np.uint8)
    picture[0] *= 0  # a range of its own
    picture[-1] = 65535 if mode == "I;16" else 255
    made = Image.fromarray(picture)
    if mode in ("RGB", "RGBA", "P"):
        made = made.convert("RGB").quantize(8) if mode == "P" else made.convert(mode)

    def shown(**chunks: bytes) -> int:
        info = PngImagePlugin.PngInfo()
        for kind, data in chunks.items():
            info.add(kind.encode(), data)
        made.save(tmp_path / "a.png", pnginfo=info)
        return int(read(tmp_path / "a.png")[8, 8, 0])

    linear = struct.pack(">I", 100000)
    assert abs(shown() - 64) <= 1
    assert abs(shown(gAMA=linear) - 136) <= 2
    assert abs(shown(gAMA=struct.pack(">I", 45455)) - 64) <= 1
    assert abs(shown(gAMA=struct.pack(">I", 0)) - 64) <= 1
    assert abs(shown(gAMA=linear, sRGB=b"\0") - 64) <= 1


def test_transparency_and_profile_together(tmp_path):
    picture = np.full((16, 16, 4), (90, 150, 70, 255), np.uint8)
    picture[:8, :, 3] = 0
    Image.fromarray(picture).save(tmp_path / "a.png", icc_profile=profile_of("wide"))
    found = read(tmp_path / "a.png")
    assert (found[2, 2] == 255).all() and found[12, 12, 0] < 80 < 150 < found[12, 12, 1]


def test_colours_of_print(tmp_path):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=98)
    found = read(tmp_path / "a.jpg")[8, 8]
    assert found[0] > 200 and found[1:].max() < 60
    lab = ImageCms.createProfile("LAB")
    red = Image.new("RGB", (16, 16), (200, 30, 20))
    made = ImageCms.profileToProfile(red, ImageCms.createProfile("sRGB"), lab, outputMode="LAB")
    assert made is not None
    made.save(tmp_path / "a.tif")
    assert np.abs(read(tmp_path / "a.tif")[8, 8] - (200, 30, 20)).max() <= 3


# More than eight bits


@pytest.mark.parametrize(
    ("kind", "white"),
    [("float32", 1), ("float32", 255), ("float32", 65535), ("float64", 1), ("int32", 65535),
     ("uint32", 2**32 - 1), ("int32", 2**31 - 1), ("uint16", 65535)],
)  # fmt: skip
def test_deep_grey_is_scaled(tmp_path, kind, white):
    shares = np.linspace(0, 1, 64)[None].repeat(48, axis=0)
    values = np.round(shares * white) if "int" in kind else shares * white
    import tifffile

    tifffile.imwrite(tmp_path / "a.tif", values.astype(kind))
    found = read(tmp_path / "a.tif")
    assert np.abs(found - np.round(255 * shares)[..., None]).max() <= 1


@pytest.mark.parametrize(("kind", "white"), [("uint16", 65535), ("float32", 1), ("float32", 255)])
@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_deep_colours_are_scaled(tmp_path, kind, white, suffix):
    if suffix == ".png" and kind != "uint16":
        return
    picture = corner_picture()
    values = (picture[..., ::-1] / 255 * white).astype(kind)
    assert cv2.imwrite(str(tmp_path / f"a{suffix}"), values)
    assert np.abs(read(tmp_path / f"a{suffix}") - picture).max() <= 1


def test_float_pages_share_one_scale(tmp_path):
    import tifffile

    pages = np.stack([np.full((16, 16), value, np.float32) for value in (0, 300, 600)])
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="minisblack")
    clip = to_pixels(read_clip(tmp_path / "a.tif", frames=None).frames)
    assert [int(page[8, 8, 0]) for page in clip] == [0, 1, 2]  # of 65535
    tifffile.imwrite(tmp_path / "b.tif", pages * 1000, photometric="minisblack")
    clip = to_pixels(read_clip(tmp_path / "b.tif", frames=None).frames)
    assert [int(page[8, 8, 0]) for page in clip] == [0, 128, 255]
    broken = pages.copy()
    broken[1, 3, 3], broken[2, 4, 4] = np.nan, np.inf
    tifffile.imwrite(tmp_path / "c.tif", broken, photometric="minisblack")
    assert read_clip(tmp_path / "c.tif").total == 3


def test_a_pfm_is_deep(tmp_path):
    Image.fromarray(np.full((8, 8), 0.5, np.float32)).save(tmp_path / "a.pfm")
    assert read(tmp_path / "a.pfm")[4, 4].tolist() == [128] * 3


def test_a_phones_picture_with_a_second_one_inside_is_one(tmp_path):
    first, second = corner_picture(480, 640), np.zeros((480, 640, 3), np.uint8)
    Image.fromarray(first).save(
        tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[Image.fromarray(second)]
    )
    clip = read_clip(tmp_path / "a.jpg", size=64)
    assert clip.total == 1 and clip.box is not None and clip.box.original == (480, 640)
    assert np.abs(read(tmp_path / "a.jpg") - first).mean() < 3


def test_a_large_png_is_made_small_before_its_colours_are_converted(tmp_path, monkeypatch):
    picture = cv2.resize(corner_picture(), (2048, 1536), interpolation=cv2.INTER_NEAREST)
    Image.fromarray(picture).save(tmp_path / "a.png", compress_level=1)
    sizes, to_rgb = [], rgb.to_rgb
    monkeypatch.setattr(
        rgb, "to_rgb", lambda image, deep: sizes.append(image.size) or to_rgb(image)
    )
    clip = read_clip(tmp_path / "a.png", size=64)
    assert sizes == [(128, 96)] and clip.box is not None and clip.box.original == (1536, 2048)


def test_a_page_without_a_size_is_no_page(tmp_path):
    images = [Image.fromarray(numbered(index)) for index in range(3)]
    images[0].save(tmp_path / "a.tif", save_all=True, append_images=images[1:])
    data = bytearray((tmp_path / "a.tif").read_bytes())
    width = struct.pack("<HHII", 256, 4, 1, 104)
    assert data.count(width) == 3
    data[data.rindex(width)] = 3  # the last page's width becomes a tag that nobody knows
    (tmp_path / "a.tif").write_bytes(data)
    assert numbers(read_clip(tmp_path / "a.tif", frames=None).frames) == [0, 1]


def test_pages_are_a_clip(tmp_path):
    images = [Image.fromarray(numbered(index)) for index in range(5)]
    thumbnail = images[0].resize((26, 12))
    images[0].save(tmp_path / "a.tif", save_all=True, append_images=[*images[1:], thumbnail])
    clip = read_clip(tmp_path / "a.tif", frames=None)
    assert clip.total == 5 and numbers(clip.frames) == list(range(5))
    images[0].save(tmp_path / "b.tif", save_all=True, append_images=[thumbnail])
    assert read_clip(tmp_path / "b.tif").total == 1


# Metadata never costs the picture


def chunk(kind: bytes, data: bytes, *, checksum: int | None = None) -> bytes:
    crc = zlib.crc32(kind + data) if checksum is None else checksum
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"x" * 3_000_000)),
        chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(b"x" * 3_000_000)),
        chunk(b"tEXt", b"Comment\0" + b"x" * 3_000_000),
        chunk(b"tEXt", b"Comment\0hello", checksum=1),
        chunk(b"zTXt", b"Comment\0\0not compressed"),
        chunk(b"zTXt", b"Comment\0\7other method"),
        chunk(b"iTXt", b""),
        chunk(b"iCCP", b"profile\0\0" + zlib.compress(b"x" * 3_000_000)),
        chunk(b"iCCP", b"profile\0\0not compressed"),
        chunk(b"eXIf", b"MM\0*broken"),
        chunk(b"pHYs", b"\0"),
        chunk(b"gAMA", b""),
        chunk(b"tIME", b"\0\0", checksum=7),
    ],
    ids=lambda extra: f"{extra[4:8].decode()}{len(extra)}",
)
@pytest.mark.parametrize("place", ["before", "after"])
def test_extra_chunks_of_a_png(tmp_path, extra, place):
    picture = corner_picture()
    Image.fromarray(picture).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    at = 33 if place == "before" else len(data) - 12
    (tmp_path / "a.png").write_bytes(data[:at] + extra + data[at:])
    np.testing.assert_array_equal(read(tmp_path / "a.png"), picture)


def segment(marker: int, data: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    ("marker", "head"),
    [(0xE1, b"Exif\0\0MM\0*\0\0\0\x08"), (0xE1, b"Exif\0\0"), (0xE2, b"ICC_PROFILE\0\1\1"),
     (0xE2, b"MPF\0MM\0*\0\0\0\x08"), (0xED, b"Photoshop 3.0\x008BIM"), (0xE0, b"JFIF\0"),
     (0xEE, b"Adobe"), (0xFE, b""), (0xE1, b"http://ns.adobe.com/xap/1.0/\0<x")],
)  # fmt: skip
def test_broken_segments_of_a_jpeg(tmp_path, marker, head, seed):
    picture = corner_picture()
    Image.fromarray(picture).save(tmp_path / "a.jpg", quality=98, subsampling=0)
    data = (tmp_path / "a.jpg").read_bytes()
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (0, 3, 40, 500, 5000, 60_000)[seed], dtype=np.uint8).tobytes()
    noise = noise.replace(b"\1\x12", b"\1\x13")  # an orientation by chance would turn it
    if marker == 0xEE:
        noise = b"\0\x64\0\0\0\0\1" + noise  # which colours it has is no mere remark
    (tmp_path / "a.jpg").write_bytes(data[:20] + segment(marker, head + noise) + data[20:])
    assert np.abs(read(tmp_path / "a.jpg") - picture).max() <= 12


@pytest.mark.parametrize("exif", [b"Exif\0\0II*\0\xff\xff\xff\xff", b"x", b"\0" * 60_000])
def test_broken_exif_of_other_pictures(tmp_path, exif):
    picture = corner_picture()
    for name in ("a.webp", "a.png"):
        options = {"lossless": True} if name == "a.webp" else {}
        Image.fromarray(picture).save(tmp_path / name, exif=exif, **options)
        np.testing.assert_array_equal(read(tmp_path / name), picture)


# Refused by name


@pytest.mark.parametrize(
    ("name", "head", "said"),
    [
        ("a.jxl", b"\xff\x0a" + bytes(range(200, 256)), "JPEG XL"),
        ("a.jxl", b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(range(200, 256)), "JPEG XL"),
        ("a.png", b"\xff\x0a" + bytes(range(200, 256)), "JPEG XL"),
        ("a.pdf", b"%PDF-1.7\n\xe2\xe3\xcf\xd3" + bytes(range(256)), "PDF"),
        ("a.zip", b"PK\x03\x04" + bytes(range(256)), "ZIP"),
    ],
)
def test_formats_refused_by_name(tmp_path, name, head, said):
    (tmp_path / name).write_bytes(head)
    with pytest.raises(ClipError, match=f"got {said}, which is not supported"):
        read_clip(tmp_path / name)


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"mif1", b"msf1"])
def test_heic_is_named_where_its_library_is_missing(tmp_path, brand, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftyp" + brand + b"\0" * 12 + bytes(range(256)))
    with pytest.raises(ClipError, match="HEIC picture, which needs pillow-heif"):
        read_clip(tmp_path / "a.heic")


def test_heic_is_read_whole_where_its_library_is(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    picture = corner_picture(40, 60)
    pillow_heif.from_pillow(Image.fromarray(picture)).save(tmp_path / "a.heic", quality=95)
    assert np.abs(read(tmp_path / "a.heic") - picture).mean() < 4


def test_a_cameras_raw_picture_is_named(tmp_path):
    picture = Image.fromarray(corner_picture())
    picture.save(tmp_path / "a.dng", format="TIFF")
    picture.save(tmp_path / "a.tif", tiffinfo={50706: b"\1\4\0\0"})
    for name in ("a.dng", "a.tif"):
        with pytest.raises(ClipError, match="raw picture"):
            read_clip(tmp_path / name)


# Names and strips


@pytest.mark.parametrize(
    "names",
    [
        ["0s", "0.25s", "0.5s", "0.75s", "1s", "1.25s"],
        ["0.0", "0.04", "0.08", "0.12", "0.16", "0.2"],
        ["t=0,5 walk 2", "t=0,75 walk 2", "t=1 walk 2"],
        ["frame 1", "frame 2", "frame 10", "frame 100"],
        ["v1.8", "v1.9", "v1.10", "v1.11"],
        ["v1.8", "v1.9", "v1.11"],
        ["0.8", "0.9", "1.0", "1.1"],
        ["a1.5", "a2", "b1"],
        ["take 1.1", "take 1.2", "take 2.1"],
        ["000.50", "001.00", "001.50", "010.00"],
    ],
)
def test_frames_in_the_order_that_their_names_count(tmp_path, names):
    for name in names:
        (tmp_path / f"{name}.png").touch()
    assert [path.stem for path in list_frames(tmp_path)] == names


def test_a_wide_still_is_one_picture():
    """Only squares that show one thing again and again are a strip."""
    white = np.full((40, 160, 3), 255, np.uint8)
    middle = white.copy()
    middle[10:30, 50:70] = (200, 30, 20)
    zoo = white.copy()
    for index, colour in enumerate([(200, 30, 20), (20, 160, 40), (30, 60, 200), (230, 200, 20)]):
        zoo[10:30, 40 * index + 10 : 40 * index + 30] = colour
    sizes = white.copy()
    for index in range(4):
        sizes[18 - 4 * index : 22 + 4 * index, 40 * index + 12 : 40 * index + 24] = (90, 90, 90)
    noise = np.random.default_rng(0).integers(0, 255, (40, 160, 3), dtype=np.uint8)
    for picture in (white, middle, zoo, sizes, noise):
        assert len(cut_strip(picture)) == 1
        assert len(cut_strip(picture.swapaxes(0, 1))) == 1
    strip = np.concatenate(list(moving_square(4)), axis=1)
    assert len(cut_strip(strip)) == 4


@pytest.mark.parametrize(
    ("kind", "white", "how"),
    [
        ("float16", 1, {}),
        ("float16", 1, {"byteorder": ">"}),
        ("float32", 1, {"planarconfig": "separate"}),
        ("uint16", 65535, {"planarconfig": "separate"}),
        ("uint32", 2**32 - 1, {"planarconfig": "separate", "bigtiff": True}),
        ("float32", 255, {"tile": (32, 32), "compression": "zlib"}),
    ],
)
def test_deep_colours_are_scaled_however_they_are_stored(tmp_path, kind, white, how) -> None:
    import tifffile

    picture = np.full((48, 64, 3), 1.0)
    picture[8:32, 8:40] = 0.8, 0.2, 0.4
    stored = (picture * white).astype(kind)
    if "planarconfig" in how:
        stored = np.moveaxis(stored, -1, 0)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", **how)
    assert np.abs(read(tmp_path / "a.tif") - np.round(255 * picture)).max() <= 1


def test_a_tiff_of_a_kind_that_nothing_reads_is_refused_and_not_guessed_at(tmp_path) -> None:
    import tifffile

    tifffile.imwrite(tmp_path / "a.tif", np.ones((48, 64), np.complex64))
    with pytest.raises(ClipError, match="TIFF that is damaged or of a kind that is not supported"):
        read_clip(tmp_path / "a.tif")
