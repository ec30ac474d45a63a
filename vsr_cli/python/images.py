"""Images as Python programs have them: paths, bytes, Pillow images, numpy arrays and tensors."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from PIL import Image

from ..data.images import png_bytes, upright_rgb
from ..errors import VsrError
from .settings import path_of

if TYPE_CHECKING:
    import torch

ImageLike: TypeAlias = Any
"""A path, the bytes of a file, a Pillow image, or an array or tensor (H, W), (H, W, C) or (C, H, W)."""
CHANNELS = (1, 3, 4)
FORMS = "(H, W), (H, W, C) or (C, H, W) with 1, 3 or 4 channels"
ROUNDING = 1e-3
"""By how much floats may leave 0 to 1, as they do after a resize or a conversion."""
REMEDY = "integers from 0 to 255 or floats from 0 to 1"


def image_source(value: ImageLike, *, where: str) -> Path | bytes:
    """Return an image as `vsr_cli.api.Frame` holds it: its path, or the bytes of a file.

    Pillow images, arrays and tensors become the bytes of a PNG. `where` names the image in messages. Raises VsrError
    if it is none of these, or holds other values than an image has.
    """
    if isinstance(value, str | os.PathLike):
        return path_of(value, where).absolute()
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, Image.Image):
        return png_bytes(upright_rgb(value, where=where), compress_level=1)
    import torch

    if isinstance(value, torch.Tensor):
        value = _array(value, where)
    if isinstance(value, np.ndarray):
        return png_bytes(upright_rgb(Image.fromarray(_as_8_bits(value, where)), where=where), compress_level=1)
    raise VsrError(
        f"{where}: not an image (got {type(value).__name__}); pass a path, bytes, a Pillow image, a numpy array or a "
        "tensor"
    )


def _array(tensor: torch.Tensor, where: str) -> np.ndarray[Any, Any]:
    """Return the values of a tensor of any type and device."""
    try:
        plain = tensor.detach().to_dense().cpu()
        return (plain.float() if plain.is_floating_point() else plain).numpy()
    except (RuntimeError, TypeError) as error:  # such as one of the device "meta"
        raise VsrError(
            f"{where}: a tensor without values that can be read (got {tensor.dtype} on {tensor.device}); pass {REMEDY}"
        ) from error


def _as_8_bits(array: np.ndarray[Any, Any], where: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return an array (H, W) or (H, W, 3 or 4) of 8 bits."""
    if array.ndim == 3 and array.shape[-1] not in CHANNELS and array.shape[0] in CHANNELS:
        array = np.moveaxis(array, 0, -1)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[-1] not in CHANNELS):
        raise VsrError(f"{where}: not of the shape of an image, {FORMS} (got {array.shape})")
    if not array.size:
        raise VsrError(f"{where}: it has no pixels (got {array.shape})")
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * np.uint8(255)
    real = np.issubdtype(array.dtype, np.floating)
    if not real and not np.issubdtype(array.dtype, np.integer):
        raise VsrError(f"{where}: its values are of type {array.dtype}; pass {REMEDY}")
    if real and not np.isfinite(array).all():
        raise VsrError(f"{where}: it holds values that are not finite, such as NaN; pass {REMEDY}")
    low, high = array.min(), array.max()
    most = 1 if real else 255
    slack = ROUNDING if real else 0
    if low < -slack or high > most + slack:
        raise VsrError(
            f"{where}: its values are out of range (got {array.dtype} from {low:g} to {high:g}); pass {REMEDY}"
        )
    bytes_ = np.rint(array.astype(np.float64).clip(0, 1) * 255) if real else array
    return np.ascontiguousarray(bytes_).astype(np.uint8)
