"""What a training will ask of the frozen-feature cache, found out without writing to it."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from ..data.features import BATCH, Features, RowsOf, text_rows, to_array, visual_rows
from ..data.prepared import Prepared
from ..data.shards import ArrayRows, Rows, ShardedArray
from ..model.story_model import StoryModel


@dataclass(frozen=True, kw_only=True)
class FeatureNeed:
    """What one encoder's frozen half must have given before the first step, and how much of it is kept already."""

    kind: Literal["visual", "text"]
    folder: Path
    rows: int
    """How many images or texts."""
    missing: int
    """Those of them that are not kept yet."""
    row_bytes: int = 0
    """What one that is missing will take, at most."""
    seconds_a_row: float = 0.0
    """What one that is missing takes to compute."""
    fits: bool = True
    """Whether there is room to keep what is missing; where there is none, it is computed anew in each step."""

    @property
    def missing_bytes(self) -> int:
        """What the cache will grow by, at most."""
        return self.missing * self.row_bytes if self.fits else 0

    @property
    def seconds(self) -> float:
        """How long it will take to compute what is missing, before the first step."""
        return self.missing * self.seconds_a_row if self.fits else 0.0

    def record(self) -> dict[str, Any]:
        """Give it for machines."""
        sums = {"missing_bytes": self.missing_bytes, "seconds": self.seconds}
        return {**vars(self), "folder": str(self.folder), **sums}


def plan_features(
    prepared: Prepared, model: StoryModel, *, sample: NDArray[np.int64], device: torch.device
) -> tuple[Features, list[FeatureNeed]]:
    """Say what is to be computed, and give the features of some training windows (n,) as if it had been.

    Where something is missing, what those windows need is computed to time it, and held in memory alone.
    """
    frames, windows = prepared.frames, prepared.windows("train").take(sample)
    tokens = model.text.tokenize(frames.texts)
    visual, visual_need = _plan(
        *_look_up(prepared, "visual", model.visual.cache_key),
        wanted=np.unique(windows.image_rows),
        compute=visual_rows(frames, model.visual, device),
    )
    text, text_need = _plan(
        *_look_up(prepared, "text", model.text.cache_key),
        wanted=np.unique(windows.text_rows),
        compute=text_rows(tokens, model.text, device),
    )
    needs = [need for need in (visual_need, text_need) if need]
    return Features(visual=visual, text=text, tokens=tokens), needs


def _look_up(
    prepared: Prepared, kind: Literal["visual", "text"], key: str | None
) -> tuple[FeatureNeed | None, Rows | None]:
    """See what is kept of an encoder's features; None where nothing of it is frozen."""
    if key is None:
        return None, None
    count = len(prepared.frames.images if kind == "visual" else prepared.frames.texts)
    folder = prepared.folder / "features" / f"{kind}-{key}"
    if folder.is_dir():
        return FeatureNeed(kind=kind, folder=folder, rows=count, missing=0), ShardedArray(folder)
    return FeatureNeed(kind=kind, folder=folder, rows=count, missing=count), None


def _plan(
    need: FeatureNeed | None, kept: Rows | None, *, wanted: NDArray[np.int64], compute: RowsOf
) -> tuple[Rows | None, FeatureNeed | None]:
    if need is None or not need.missing:
        return kept, need
    parts: list[NDArray[np.float32]] = []
    seconds = 0.0
    for start in range(0, len(wanted), BATCH):
        rows = wanted[start : start + BATCH]
        if not parts:
            compute(rows)  # the first time is slower than those that follow
        begun = time.perf_counter()
        parts.append(to_array(compute(rows)))
        seconds += time.perf_counter() - begun
    values = np.concatenate(parts)
    timed = replace(need, row_bytes=values[0].nbytes, seconds_a_row=seconds / len(wanted))
    return _HeldRows(wanted, values), timed


class _HeldRows(ArrayRows):
    """Some rows, held in memory and asked for by their places (n,), in order, among all rows."""

    def __init__(self, places: NDArray[np.int64], rows: NDArray[Any]) -> None:
        super().__init__(rows)
        self._places = places

    def gather(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Copy the rows with these places, of any shape: (*indices, *row)."""
        return super().gather(np.searchsorted(self._places, rows))
