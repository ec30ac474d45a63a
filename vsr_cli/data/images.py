"""Decoding of images: an upright 8-bit RGB square, or one error, from any file or bytes of a dataset."""

from __future__ import annotations

import io
import stat
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..api import image_formats
from ..config.choices import Resize
from ..errors import VsrError, one_line
from ..system_errors import refuse_exhaustion

MAX_PIXELS = 64_000_000
"""Width times height, read from the header: such an image needs some 200 MB decoded."""
ORIENTATION_TAG = 0x0112
BARS = (124, 116, 104)
"""The colour of letterbox bars: the mean of ImageNet, which the usual normalisation maps to zero, like the padding of a
convolution. Black would resemble night, or the bars of a film.
"""
LONGEST = 8
"""Maximum aspect ratio to which a stretched image is restored at full width: one of 5000 x 1 would need gigabytes."""

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The transposition that undoes each value of the EXIF orientation tag (EXIF 2.3, tag 0x0112); 1 is upright."""
_TURNING = {_UPRIGHT[value] for value in (5, 6, 7, 8)}
"""Those that swap width and height."""

# Errors of Pillow's parsers for damaged files.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    EOFError,
    RuntimeError,
    AssertionError,
    MemoryError,
    struct.error,
    zlib.error,
)


class ImageProblem(VsrError):
    """An image that cannot be used. `code` is one of unreadable_image, truncated_image, image_too_large,
    missing_image.
    """

    def __init__(self, code: str, *, where: str, what: str, remedy: str) -> None:
        super().__init__(f"{where}: {what}; {remedy}")
        self.code = code


def decode_image(source: Path | bytes, *, where: str, size: int | None = None) -> Image.Image:
    """Return an upright image in mode RGB, 8 bits per channel.

    Transparent images are composed on white, the first frame of an animation is used, CMYK and palettes are converted
    as Pillow does. Deep greys are scaled, not clipped: integers within 16 bits by 1/257, floats within [0, 1]
    by 255, and other ranges from their own minimum and maximum.

    With `size`, the image may come smaller than it is stored, but at least twice `size` on each side if it
    was: a JPEG is then decoded at a fraction of its resolution, which is much faster.

    `where` names the image in messages. Raises ImageProblem.
    """
    return _read(source, where, size)[0]


@dataclass(frozen=True)
class FittedImage:
    """An image resized for the model, and its original size."""

    pixels: NDArray[np.uint8]
    """(size, size, 3)."""
    width: int
    """Of the upright image in the source, in pixels."""
    height: int


def image_suffix(source: Path | bytes) -> str:
    """Return the usual suffix of an image that has been decoded before."""
    with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
        name = str(image.format).lower()
    return {"jpeg": ".jpg", "mpo": ".jpg"}.get(name, f".{name}")


def png_bytes(image: Image.Image, *, compress_level: int = 6) -> bytes:
    """Return an image as the bytes of a PNG, by zlib's level of compression."""
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=compress_level)
    return file.getvalue()


def read_image(source: Path | bytes, *, where: str, size: int, resize: Resize) -> FittedImage:
    """Decode an image and fit it into a square of `size` pixels. `where` names it in messages. Raises ImageProblem."""
    image, (width, height) = _read(source, where, size)
    return FittedImage(_fit(image, size, resize, measure=(width, height)), width, height)


def fit_image(image: Image.Image, size: int, resize: Resize) -> NDArray[np.uint8]:
    """Fit an RGB image of any shape into a square (size, size, 3), with Pillow's bicubic filter.

    stretch resizes the whole image to the square, letterbox preserves its aspect ratio and pads it with `BARS`, crop
    takes the center square. Pillow widens the filter by the scale where it shrinks, so the result is
    antialiased.
    """
    return _fit(image, size, resize, measure=image.size)


def unfit_image(image: Image.Image, *, width: int, height: int, resize: Resize) -> Image.Image:
    """Undo `fit_image` for display, as far as possible.

    `image` is a square made of an image of `width` by `height`. A stretched image is resized back to this aspect
    ratio, without loss up to `LONGEST`; letterbox bars are removed; a cropped image is not changed.
    """
    assert image.width == image.height, image.size
    match resize:
        case "stretch":
            ratio = max(width, height) / min(width, height)
            longer, shorter = min(ratio, LONGEST), min(ratio, LONGEST) / ratio
            sides = (longer, shorter) if width >= height else (shorter, longer)
            stretched = (max(1, round(image.width * sides[0])), max(1, round(image.height * sides[1])))
            return image.resize(stretched, Image.Resampling.BICUBIC)
        case "letterbox":
            return image.crop(_between_bars(width, height, image.width))
        case "crop":
            return image


def _read(source: Path | bytes, where: str, size: int | None) -> tuple[Image.Image, tuple[int, int]]:
    """Return an upright image, and its width and height before any reduction."""
    try:
        with _open(source, where) as file:
            return _decode(file, where, size)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(where, "it has too many pixels") from error


def _fit(image: Image.Image, size: int, resize: Resize, *, measure: tuple[int, int]) -> NDArray[np.uint8]:
    """Fit an image into a square. `measure` is its width and height before it was reduced, as bars depend on them."""
    assert image.mode == "RGB", image.mode
    assert size > 0
    match resize:
        case "stretch":
            square = image.resize((size, size), Image.Resampling.BICUBIC)
        case "letterbox":
            left, top, right, bottom = _between_bars(*measure, size)
            square = Image.new("RGB", (size, size), BARS)
            square.paste(image.resize((right - left, bottom - top), Image.Resampling.BICUBIC), (left, top))
        case "crop":
            side = min(image.size)
            left, top = (image.width - side) // 2, (image.height - side) // 2
            # Cut before it is scaled, so that the filter takes nothing from beyond the square.
            middle = image.crop((left, top, left + side, top + side))
            square = middle.resize((size, size), Image.Resampling.BICUBIC)
    return np.array(square, dtype=np.uint8)


def _between_bars(width: int, height: int, size: int) -> tuple[int, int, int, int]:
    """Return the part (left, top, right, bottom) of a square that an image takes between the bars of letterbox."""
    inner_width = max(1, round(size * width / max(width, height)))
    inner_height = max(1, round(size * height / max(width, height)))
    left, top = (size - inner_width) // 2, (size - inner_height) // 2
    return left, top, left + inner_width, top + inner_height


def _open(source: Path | bytes, where: str) -> IO[bytes]:
    if isinstance(source, bytes):
        if not source:
            raise _unreadable(where, "it is empty")
        return io.BytesIO(source)
    try:
        status = source.stat()
        if stat.S_ISDIR(status.st_mode):
            raise _unreadable(where, "it is a folder, not an image")
        if not stat.S_ISREG(status.st_mode):
            # Opening a pipe or a device could block forever.
            raise _unreadable(where, "it is not a regular file")
        if not status.st_size:
            raise _unreadable(where, "it is empty")
        return source.open("rb")
    except (FileNotFoundError, NotADirectoryError) as error:
        remedy = "add the file, or remove the frame"
        raise ImageProblem("missing_image", where=where, what="no such file", remedy=remedy) from error
    except (OSError, ValueError) as error:
        refuse_exhaustion(error, source)
        raise _unreadable(where, f"the file cannot be opened ({one_line(error)})") from error


def _decode(file: IO[bytes], where: str, size: int | None) -> tuple[Image.Image, tuple[int, int]]:
    # The format is detected by content, not by name; rarely used parsers of Pillow are excluded.
    try:
        image: Image.Image = Image.open(file, formats=image_formats())
    except _DAMAGE as error:
        refuse_exhaustion(error, Path(where))
        if _says_truncated(error):
            raise _truncated(where) from error
        what = f"it is not an image of a supported format ({', '.join(image_formats())})"
        raise _unreadable(where, what) from error
    return _upright(image, where, size)


def upright_rgb(image: Image.Image, *, where: str) -> Image.Image:
    """Return an image in memory as `decode_image` returns one that is read. Raises ImageProblem."""
    return _upright(image, where, None)[0]


def _upright(image: Image.Image, where: str, size: int | None) -> tuple[Image.Image, tuple[int, int]]:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise _too_large(where, f"it has {width} x {height} pixels")
    if not width * height:
        raise _unreadable(where, f"it has no pixels ({width} x {height})")
    try:
        if size is not None:
            # Twice the target leaves the filter of `fit_image` enough to work on.
            image.draft(None, (2 * size, 2 * size))
        image.load()
        upright = _UPRIGHT.get(_orientation(image))
        rgb = _to_rgb(image)
        if upright is None:
            return rgb, (width, height)
        return rgb.transpose(upright), (height, width) if upright in _TURNING else (width, height)
    except _DAMAGE as error:
        refuse_exhaustion(error, Path(where))
        if _says_truncated(error):
            raise _truncated(where) from error
        raise _unreadable(where, f"it cannot be decoded ({one_line(error)})") from error


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ORIENTATION_TAG, 1))
    except _DAMAGE:
        # Damaged metadata is ignored if the image decodes.
        return 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F" or image.mode.startswith("I"):
        return Image.fromarray(_to_8_bits(np.asarray(image))).convert("RGB")
    if image.has_transparency_data or image.mode in ("La", "RGBa"):
        if image.mode == "La":
            image = image.convert("LA")
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    # A copy, so that the result refers to neither the open file nor its metadata.
    return image.convert("RGB") if image.mode != "RGB" else image.copy()


def _to_8_bits(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Scale deep grey values (H, W) to 0..255. Raises ValueError if none of them is a number."""
    if not np.isfinite(values).any():
        raise ValueError("it holds no finite value")
    # float32 holds 16 bits exactly, at half the memory of float64.
    grey = np.nan_to_num(values.astype(np.float32), posinf=0.0, neginf=0.0)
    low, high = float(grey.min()), float(grey.max())
    if np.issubdtype(values.dtype, np.integer) and low >= 0 and high <= 65535:
        low, high = 0.0, 65535.0
    elif np.issubdtype(values.dtype, np.floating) and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    # In this order nothing overflows, and an image of one value outside the known ranges is black.
    return np.rint((grey / 2 - low / 2) / max(high / 2 - low / 2, 1e-30) * 255).astype(np.uint8)


def _says_truncated(error: BaseException) -> bool:
    # Pillow has no class for it; its messages are "image file is truncated" and "Truncated File Read".
    return isinstance(error, EOFError) or "truncated" in str(error).lower()


def _unreadable(where: str, what: str) -> ImageProblem:
    remedy = "replace it with a JPEG, PNG or WebP file"
    return ImageProblem("unreadable_image", where=where, what=what, remedy=remedy)


def _truncated(where: str) -> ImageProblem:
    remedy = "copy or download the file again"
    return ImageProblem("truncated_image", where=where, what="the file is truncated", remedy=remedy)


def _too_large(where: str, what: str) -> ImageProblem:
    remedy = f"resize it to at most {MAX_PIXELS // 1_000_000} megapixels"
    return ImageProblem("image_too_large", where=where, what=what, remedy=remedy)
