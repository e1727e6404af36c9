"""Any Pillow picture as RGB bytes, and alpha: upright, in sRGB, 8 bits.

What a file says about itself beside its pixels (orientation, profile) may be broken: then it is
left out, and the picture is read without.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms

from anamodiff.video.picture import Picture

_ORIENTATION = 274  # the tag's number, in EXIF and TIFF
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_QUARTERS = {_UPRIGHT[number] for number in (5, 6, 7, 8)}
_SAMPLE_FORMAT, _UNSIGNED = 339, 1
_MODE_OF_PROFILE = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}
_REDUCIBLE = ("L", "RGB", "RGBA", "CMYK", "YCbCr")
# A screen's gamma; a file's own, as plausible; how near the product is to 1 that changes nothing.
SCREEN, _GAMMAS, _SAME = 2.2, (0.2, 2.5), 0.05
# White of numbers above 1 that have no type to tell it: that of the first type they fit in.
_WHITES = (255.0, 65535.0)

#: Lowest and highest value, which become black and white.
Range = tuple[float, float]


def to_picture(image: Image.Image, size: int | None = None, deep: Range | None = None) -> Picture:
    """A Pillow image as it is shown.

    Args:
        size: side of the canvas it is for; a picture more than twice as large is made smaller
            before anything else, a JPEG while it is decoded.
        deep: range of a picture of more than 16 bits; its own by default.
    """
    width, height = image.size
    if size is not None and image.format in ("JPEG", "MPO"):
        image.draft(None, _reduced(width, height, size))
    load(image)
    if image.format not in ("JPEG", "MPO"):  # a TIFF turns itself in loading
        width, height = image.size
    turn = _turn(image)
    if size is not None and image.mode in _REDUCIBLE:
        factor = max(image.size) // (2 * size)
        image = image.reduce(factor) if factor > 1 else image
    pixels = to_rgb(image if turn is None else image.transpose(turn), deep)
    return Picture.of(pixels, (width, height) if turn in _QUARTERS else (height, width))


def upright(image: Image.Image) -> Image.Image:
    """A loaded image turned as its metadata say."""
    turn = _turn(image)
    return image if turn is None else image.transpose(turn)


def _turn(image: Image.Image) -> Image.Transpose | None:
    return _UPRIGHT.get(_orientation(image) or 1)


def load(image: Image.Image) -> None:
    """Decode an image, without what libtiff itself prints of a damaged one."""
    hidden = without_stderr() if image.format == "TIFF" else nullcontext()
    with hidden, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image.load()


@contextmanager
def without_stderr() -> Iterator[None]:
    """Without what a library itself prints of a damaged file, which our own line says."""
    try:
        kept = os.dup(2)
    except OSError:  # there is none
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _reduced(width: int, height: int, size: int) -> tuple[int, int]:
    """The smallest size that is still twice the canvas's."""
    scale = min(1.0, 2 * size / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _orientation(image: Image.Image) -> int | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return image.getexif().get(_ORIENTATION)
    except Exception:  # broken EXIF raises many types
        return None


def to_rgb(image: Image.Image, deep: Range | None = None) -> np.ndarray:
    """A loaded image as RGB bytes `h w 3`, or 4 where it has alpha, not turned."""
    if image.mode == "F" or image.mode.startswith("I"):
        shades = scale(values(image), deep or value_range(image))
        curve = _curve(image)
        return shades if curve is None else curve[shades]
    alpha = None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
    pixels = np.asarray(_in_srgb(image))
    if alpha is None:
        return np.array(pixels)
    return np.dstack([pixels, np.asarray(alpha)])


# Profiles


def _in_srgb(image: Image.Image) -> Image.Image:
    """An image in sRGB, by its profile if it has a sound one."""
    profile = image.info.get("icc_profile")
    if image.mode == "LAB" and not profile:
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    if profile:
        try:
            return _converted(image, profile)
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError, KeyError):
            pass  # broken, or of another kind of picture
    curve = None if profile else _curve(image)
    image = image.convert("RGB")
    return image if curve is None else image.point([*curve.tolist()] * 3)


def _curve(image: Image.Image) -> np.ndarray | None:
    """What a png's `gAMA` makes of each byte on a screen of sRGB; None where it is that already."""
    gamma = image.info.get("gamma")
    if "srgb" in image.info or not isinstance(gamma, float):
        return None
    if not _GAMMAS[0] <= gamma <= _GAMMAS[1] or abs(gamma * SCREEN - 1) < _SAME:
        return None
    return np.rint(255 * np.linspace(0, 1, 256) ** (1 / (gamma * SCREEN))).astype(np.uint8)


def _converted(image: Image.Image, data: bytes) -> Image.Image:
    profile = ImageCms.ImageCmsProfile(BytesIO(data))
    if ImageCms.getProfileDescription(profile).startswith("sRGB"):
        return image.convert("RGB")
    space = profile.profile.xcolor_space.strip()  # pyright: ignore[reportAttributeAccessIssue]
    mode = _MODE_OF_PROFILE[space]
    if (mode in ("CMYK", "LAB") or image.mode in ("CMYK", "LAB")) and mode != image.mode:
        raise ValueError("profile of another kind of picture")
    key = hashlib.sha256(data).hexdigest(), mode
    if key not in _transforms:
        _transforms.clear()  # one file's is used for all its frames, then another's
        _transforms[key] = ImageCms.buildTransform(
            profile, ImageCms.createProfile("sRGB"), mode, "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )  # fmt: skip
    converted = ImageCms.applyTransform(image.convert(mode), _transforms[key])
    assert converted is not None  # it is not in place
    return converted


_transforms: dict[tuple[str, str], ImageCms.ImageCmsTransform] = {}


# More than 8 bits


def is_deep(image: Image.Image) -> bool:
    """Whether nothing but its values says what is white in an image."""
    return image.mode == "F" or (image.mode == "I" and image.format not in ("PPM", "PNG"))


def values(image: Image.Image) -> np.ndarray:
    """The numbers `h w` of an image of one channel of more than 8 bits."""
    numbers = np.asarray(image)
    unsigned = getattr(image, "tag_v2", {}).get(_SAMPLE_FORMAT, (_UNSIGNED,))
    if image.mode == "I" and image.format == "TIFF" and unsigned in (_UNSIGNED, (_UNSIGNED,)):
        return numbers.view(np.uint32)
    return numbers


def value_range(image: Image.Image) -> Range:
    """Black and white of a picture of more than 8 bits: of its type, or found in its values."""
    return range_of(values(image)) if is_deep(image) else (0.0, 65535.0)


def range_of(numbers: np.ndarray) -> Range:
    """Black and white of numbers without a type that tells: what the values fit in.

    Up to 1 (floats), up to 255, up to 65535, else up to the largest; negative numbers are kept.
    """
    if numbers.dtype in (np.uint8, np.uint16):
        return 0.0, float(np.iinfo(numbers.dtype).max)
    finite = numbers[np.isfinite(numbers)]
    if not finite.size:
        return 0.0, 1.0
    low, high = min(0.0, float(finite.min())), float(finite.max())
    whites = (1.0, *_WHITES) if np.issubdtype(numbers.dtype, np.floating) else _WHITES
    return low, next((white for white in whites if low >= 0 and high <= white), high)


def scale(numbers: np.ndarray, deep: Range) -> np.ndarray:
    """Numbers `h w` or `h w c` as RGB bytes `h w 3`, 4 of 4; what is no number is black."""
    low, high = deep
    shares = np.nan_to_num((numbers.astype(np.float64) - low) / max(high - low, 1e-12), nan=0.0)
    bytes_ = np.round(255 * shares.clip(0, 1)).astype(np.uint8)
    if bytes_.ndim == 2:
        bytes_ = bytes_[..., None]
    if bytes_.shape[2] in (1, 2):
        return np.repeat(bytes_[..., :1], 3, axis=2)
    return np.ascontiguousarray(bytes_[..., : 4 if bytes_.shape[2] == 4 else 3])
