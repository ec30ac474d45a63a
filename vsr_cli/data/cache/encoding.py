"""Running the frozen halves of encoders over images and texts, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import numpy as np
import torch
from numpy.typing import NDArray

from ...api import EncodesMany, TextEncoder, TokenBatch, VisualEncoder
from ...config.choices import Compute
from ...console import warn
from ...errors import VsrError
from ..prepared_types import Frames
from ..transfer import to_device

BATCH = 32
"""Images, texts or windows per batch wherever nothing is trained."""
MANY = 64
"""Rows to encode at once for which an encoder prepares itself."""
RowsOf = Callable[[NDArray[np.int64]], torch.Tensor]
Advance = Callable[[int], object]
"""Called with the number of rows that have been encoded since the last call."""


def visual_rows(frames: Frames, encoder: VisualEncoder, device: torch.device) -> RowsOf:
    """Return the function that computes features for rows of images."""

    @torch.no_grad()
    def compute(rows: NDArray[np.int64]) -> torch.Tensor:
        return encoder.frozen(encoder.pixels(image_tensor(frames.images.gather(rows), device)))

    return compute


def text_rows(tokens: TokenBatch, encoder: TextEncoder, device: torch.device) -> RowsOf:
    """Return the function that computes features for rows of texts."""

    @torch.no_grad()
    def compute(rows: NDArray[np.int64]) -> torch.Tensor:
        ids = to_device(tokens.ids[rows], device)
        mask = to_device(tokens.mask[rows], device)
        return encoder.frozen(ids, mask)

    return compute


def encode(compute: RowsOf, rows: NDArray[np.int64], advance: Advance) -> NDArray[np.float32]:
    """Return the features (n, *F) of some rows, computed in batches of neighbours."""
    made = []
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        made.append(to_array(compute(part)))
        advance(len(part))
    return np.concatenate(made)


def encoding_many(encoder: object, count: int) -> AbstractContextManager[None]:
    """Return the context in which an encoder computes so many rows; whether they are many depends on them alone."""
    if count >= MANY and isinstance(encoder, EncodesMany):
        return encoder.encoding_many()
    return nullcontext()


def image_tensor(images: NDArray[np.uint8], device: torch.device) -> torch.Tensor:
    """Turn images (..., H, W, 3) into a tensor (..., 3, H, W) uint8."""
    return to_device(images, device).movedim(-1, -3)


def to_array(features: torch.Tensor) -> NDArray[np.float32]:
    """Copy features to the CPU in single precision."""
    return np.asarray(features.float().cpu().numpy(), dtype=np.float32)


@contextmanager
def computing_in(compute: Compute, device: torch.device) -> Iterator[None]:
    """Compute matrix products and convolutions in this precision. Raises VsrError if the device cannot."""
    if compute == "fp32":
        yield
        return
    refuse_unsupported(compute, device)
    with torch.autocast(device.type, torch.bfloat16):
        yield


def refuse_unsupported(compute: Compute, device: torch.device) -> None:
    """Raise VsrError if a device does not compute features in this precision."""
    if compute == "fp32" or device.type == "cpu":
        return
    if device.type != "cuda" or not torch.cuda.is_bf16_supported(including_emulation=False):
        raise VsrError(f"features.compute: this device has no bf16 (got {device.type}); use fp32, the default")


def warn_slow(compute: Compute, device: torch.device) -> None:
    """Warn of a processor on which bf16 takes many times longer than fp32: oneDNN computes it with AVX-512 only."""
    if compute == "bf16" and device.type == "cpu" and torch.backends.cpu.get_cpu_capability() == "AVX2":
        warn("this processor has no bf16 instructions, so encoding takes many times longer than with --precision fp32")
