"""Frozen features: what an encoder's frozen half gives, computed once for each image or text and kept.

They are addressed by content: an encoder's `cache_key` stands for all that `frozen` depends on, and the rows are
those of the prepared folder's distinct images and texts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from ..api import TextEncoder, TokenBatch, VisualEncoder
from ..console import progress, say
from ..errors import VsrError
from ..files import replacing_folder
from .prepared import Frames, Prepared
from .shards import Rows, ShardedArray, ShardWriter

BATCH = 32
"""Rows that the frozen half sees at a time."""


@dataclass(frozen=True)
class Features:
    """The frozen features of a set of frames, or the means to compute them batch by batch."""

    visual: Rows | None
    """(images, *F); None where the encoder has nothing frozen, so that its input is made for each batch."""
    text: Rows | None
    """(texts, *F); None likewise."""
    tokens: TokenBatch
    """Every text's tokens, (texts, L)."""


def frozen_features(prepared: Prepared, visual: VisualEncoder, text: TextEncoder, *, device: torch.device) -> Features:
    """Load an encoder pair's features from the prepared folder, computing and keeping what is not there yet."""
    frames = prepared.frames
    tokens = text.tokenize(frames.texts)
    return Features(
        visual=_kept(prepared, "visual", visual.cache_key, len(frames.images), visual_rows(frames, visual, device)),
        text=_kept(prepared, "text", text.cache_key, len(frames.texts), text_rows(tokens, text, device)),
        tokens=tokens,
    )


RowsOf = Callable[[NDArray[np.int64]], torch.Tensor]


def visual_rows(frames: Frames, encoder: VisualEncoder, device: torch.device) -> RowsOf:
    """Make the function that computes features for some images' rows."""

    @torch.no_grad()
    def compute(rows: NDArray[np.int64]) -> torch.Tensor:
        return encoder.frozen(encoder.pixels(image_tensor(frames.images.gather(rows), device)))

    return compute


def text_rows(tokens: TokenBatch, encoder: TextEncoder, device: torch.device) -> RowsOf:
    """Make the function that computes features for some texts' rows."""

    @torch.no_grad()
    def compute(rows: NDArray[np.int64]) -> torch.Tensor:
        ids = torch.from_numpy(tokens.ids[rows]).to(device)
        mask = torch.from_numpy(tokens.mask[rows]).to(device)
        return encoder.frozen(ids, mask)

    return compute


def image_tensor(images: NDArray[np.uint8], device: torch.device) -> torch.Tensor:
    """Turn images (..., H, W, 3) into a tensor (..., 3, H, W) uint8."""
    return torch.from_numpy(images).to(device).movedim(-1, -3)


def to_array(features: torch.Tensor) -> NDArray[np.float32]:
    """Bring features to the host in single precision."""
    array: NDArray[np.float32] = features.float().cpu().numpy()
    return array


def _kept(
    prepared: Prepared, kind: Literal["visual", "text"], key: str | None, count: int, compute: RowsOf
) -> ShardedArray | None:
    if key is None:
        return None
    folder = prepared.folder / "features" / f"{kind}-{key}"
    if not folder.is_dir():
        _compute(folder, kind, count, compute)
    kept = ShardedArray(folder)
    if len(kept) != count:
        raise VsrError(f"{folder}: holds {len(kept)} rows of {count}; remove the folder, and they are computed anew")
    return kept


def _compute(folder: Path, kind: str, count: int, compute: RowsOf) -> None:
    what = {"visual": "images", "text": "texts"}[kind]
    first = to_array(compute(np.arange(1)))
    size = first.nbytes * count
    say(f"frozen {kind} features: {count} {what}, {size / 2**20:.0f} MiB in {folder}")
    with replacing_folder(folder) as temporary, progress() as bar:
        task = bar.add_task(f"encoding {what}", total=count)
        writer = ShardWriter(temporary)
        for start in range(0, count, BATCH):
            rows = np.arange(start, min(start + BATCH, count))
            writer.append(to_array(compute(rows)))
            bar.advance(task, len(rows))
        writer.close()
