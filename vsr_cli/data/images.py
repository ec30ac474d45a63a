"""The one place where pictures are decoded: what a dataset holds becomes upright 8-bit RGB, or one error."""

from __future__ import annotations

import hashlib
import io
import stat
import struct
import zlib
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vsr_cli.errors import VsrError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""By content, not by name. Pillow's rarer parsers never see a file."""
MAX_PIXELS = 64_000_000
"""Width times height, read from the header: such a picture needs some 200 MB decoded."""
ORIENTATION_TAG = 0x0112

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes each value of the EXIF orientation tag (EXIF 2.3, tag 0x0112); 1 is upright."""

# What Pillow's parsers raise on damaged files: they check what they read only in part.
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
    """A picture that cannot be used. `code` is one of unreadable_image, truncated_image, image_too_large,
    missing_image.
    """

    def __init__(self, code: str, *, where: str, what: str, remedy: str) -> None:
        super().__init__(f"{where}: {what}; {remedy}")
        self.code = code


def decode_image(source: Path | bytes, *, where: str, size: int | None = None) -> Image.Image:
    """Give an upright picture in mode RGB, 8 bits a channel.

    Transparency is laid on white, of an animation the first frame is taken, CMYK and palettes are converted
    as Pillow does. Deep greys are scaled, not clipped: integers within 16 bits by 1/257, floats within [0, 1]
    by 255, and what exceeds these from its own least and greatest value.

    With `size`, the picture may come smaller than it is stored, but at least twice `size` on each side if it
    was: a JPEG is then decoded at a fraction of its resolution, which is much faster.

    `where` names the picture in messages. Raises ImageProblem.
    """
    try:
        with _open(source, where) as file:
            return _decode(file, where, size)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(where, "it has too many pixels") from error


def resize_image(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """Squash an RGB picture to (size, size, 3), whatever its shape, with Pillow's bicubic filter.

    Pillow widens the filter by the scale where it shrinks, so the result is antialiased.
    """
    assert image.mode == "RGB", image.mode
    assert size > 0
    return np.array(image.resize((size, size), Image.Resampling.BICUBIC), dtype=np.uint8)


def digest_image(array: NDArray[np.uint8]) -> str:
    """Digest a picture's shape and pixels: 32 hexadecimal digits of a SHA-256."""
    assert array.dtype == np.uint8
    digest = hashlib.sha256(f"{array.shape};".encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:32]


def _open(source: Path | bytes, where: str) -> IO[bytes]:
    if isinstance(source, bytes):
        if not source:
            raise _unreadable(where, "it is empty")
        return io.BytesIO(source)
    try:
        status = source.stat()
        if stat.S_ISDIR(status.st_mode):
            raise _unreadable(where, "it is a folder, not a picture")
        if not stat.S_ISREG(status.st_mode):
            # Opening a pipe or a device could wait for ever.
            raise _unreadable(where, "it is not a regular file")
        if not status.st_size:
            raise _unreadable(where, "it is empty")
        return source.open("rb")
    except (FileNotFoundError, NotADirectoryError) as error:
        remedy = "put the file there or drop the frame"
        raise ImageProblem("missing_image", where=where, what="no such file", remedy=remedy) from error
    except (OSError, ValueError) as error:
        raise _unreadable(where, f"the file cannot be opened ({_reason(error)})") from error


def _decode(file: IO[bytes], where: str, size: int | None) -> Image.Image:
    try:
        image: Image.Image = Image.open(file, formats=FORMATS)
    except _DAMAGE as error:
        if _says_truncated(error):
            raise _truncated(where) from error
        what = f"it is not a picture of a known kind ({', '.join(FORMATS)})"
        raise _unreadable(where, what) from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise _too_large(where, f"it has {width} x {height} pixels")
    try:
        if size is not None:
            # Twice the target leaves the filter of `resize_image` enough to work on.
            image.draft(None, (2 * size, 2 * size))
        image.load()
        upright = _UPRIGHT.get(_orientation(image))
        rgb = _to_rgb(image)
        return rgb if upright is None else rgb.transpose(upright)
    except _DAMAGE as error:
        if _says_truncated(error):
            raise _truncated(where) from error
        raise _unreadable(where, f"it cannot be decoded ({_reason(error)})") from error


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ORIENTATION_TAG, 1))
    except _DAMAGE:
        # Damaged side information does not spoil a picture that decodes.
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
    # A copy, so that what is given holds neither the open file nor its metadata.
    return image.convert("RGB") if image.mode != "RGB" else image.copy()


def _to_8_bits(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Scale deep grey values (H, W) to 0..255."""
    # float32 holds 16 bits exactly, at half the memory of float64.
    grey = np.nan_to_num(values.astype(np.float32), posinf=0.0, neginf=0.0)
    low, high = float(grey.min()), float(grey.max())
    if np.issubdtype(values.dtype, np.integer) and low >= 0 and high <= 65535:
        low, high = 0.0, 65535.0
    elif np.issubdtype(values.dtype, np.floating) and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    # In this order nothing overflows, and a picture of one value outside the known ranges is black.
    return np.rint((grey / 2 - low / 2) / max(high / 2 - low / 2, 1e-30) * 255).astype(np.uint8)


def _says_truncated(error: BaseException) -> bool:
    # Pillow has no class for it: it says "image file is truncated" or "Truncated File Read".
    return isinstance(error, EOFError) or "truncated" in str(error).lower()


def _reason(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def _unreadable(where: str, what: str) -> ImageProblem:
    remedy = "replace it by a JPEG, PNG or WebP file"
    return ImageProblem("unreadable_image", where=where, what=what, remedy=remedy)


def _truncated(where: str) -> ImageProblem:
    remedy = "copy or download the file again"
    return ImageProblem("truncated_image", where=where, what="the file breaks off early", remedy=remedy)


def _too_large(where: str, what: str) -> ImageProblem:
    remedy = f"scale it down to at most {MAX_PIXELS // 1_000_000} megapixels"
    return ImageProblem("image_too_large", where=where, what=what, remedy=remedy)
