"""The features that a training needs and the cache lacks, for `vsr train --dry-run`; nothing is written."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from ..config.schema import FeatureOptions
from ..data.cache.extraction import FeatureRequest, Features, fits_limit, load_or_compute, text_request, visual_request
from ..data.prepared import Prepared
from ..data.scratch import tokenized
from ..data.shards import ArrayRows, Rows
from ..model.story_model import StoryModel


@dataclass(frozen=True, kw_only=True)
class FeatureNeed:
    """The frozen features of one encoder that training needs, and how many of them are cached."""

    kind: Literal["visual", "text"]
    folder: Path
    rows: int
    """Images or texts."""
    missing: int
    """Those that are not cached."""
    row_bytes: int = 0
    """The size of a missing row, at most."""
    seconds_per_row: float = 0.0
    """The time to compute a missing row."""
    fits: bool = True
    """Whether the missing rows fit in the cache; otherwise they are computed in every step."""

    @property
    def missing_bytes(self) -> int:
        """The growth of the cache, at most."""
        return self.missing * self.row_bytes if self.fits else 0

    @property
    def seconds(self) -> float:
        """The time to compute the missing rows before the first step."""
        return self.missing * self.seconds_per_row if self.fits else 0.0

    def record(self) -> dict[str, Any]:
        """Return it as JSON data."""
        sums = {"missing_bytes": self.missing_bytes, "seconds": self.seconds}
        return {**vars(self), "folder": str(self.folder), **sums}


def plan_features(
    prepared: Prepared,
    model: StoryModel,
    *,
    sample: NDArray[np.int64],
    device: torch.device,
    options: FeatureOptions,
) -> tuple[Features, list[FeatureNeed]]:
    """Return the features of some training windows (n,), and what computing all features takes.

    Missing features of those windows are computed, which is timed, and held only in memory.
    """
    needed = [prepared.windows(split) for split in ("train", "validation")]
    sampled = [prepared.windows("train").take(sample)]
    visual, visual_need = _plan(
        visual_request(prepared, model.visual, needed, device=device),
        visual_request(prepared, model.visual, sampled, device=device),
        options,
    )
    text, text_need = _plan(
        text_request(prepared, model.text, needed, device=device),
        text_request(prepared, model.text, sampled, device=device),
        options,
    )
    needs = [need for need in (visual_need, text_need) if need]
    return Features(visual=visual, text=text, tokens=tokenized(model.text.tokenize, prepared.frames.texts)), needs


def _plan(
    request: FeatureRequest | None, sample: FeatureRequest | None, options: FeatureOptions
) -> tuple[Rows | None, FeatureNeed | None]:
    if request is None or sample is None:
        return None, None
    known, _, at = request.look_up(options)
    missing = int((at < 0).sum())
    if known is not None and not missing:
        return load_or_compute(request, options), FeatureNeed(
            kind=request.kind, folder=known.folder, rows=len(at), missing=0
        )
    sample.compute(sample.rows[:1], options)  # warm-up
    begun = time.perf_counter()
    values, lengths = sample.compute(sample.rows, options)
    seconds = time.perf_counter() - begun
    features = request.set_like(values, tokens=lengths is not None, options=options)
    need = FeatureNeed(
        kind=request.kind,
        folder=features.folder,
        rows=len(request.rows),
        missing=missing,
        row_bytes=features.row_bytes,
        seconds_per_row=seconds / len(sample.rows),
        fits=fits_limit(features.row_bytes * missing, options),
    )
    return _HeldRows(sample.rows, values), need


class _HeldRows(ArrayRows):
    """Some rows in memory, indexed by their sorted positions (n,) among all rows."""

    def __init__(self, positions: NDArray[np.int64], rows: NDArray[Any]) -> None:
        super().__init__(rows)
        self._positions = positions

    def gather(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Copy the rows at these positions, of any shape: (*indices, *row)."""
        return super().gather(np.searchsorted(self._positions, rows))
