"""What each loss is a mean over, by which the losses of batches are put together in training and in evaluation alike.

A mean of the batches' means would depend on how windows are batched: a text loss is a mean over *tokens*.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...data.batches import Contexts, TargetFeatureSource, Targets
from ...data.features import Features
from ...data.prepared import Prepared
from ..story_model import StoryModel


@dataclass(frozen=True)
class Split:
    """The windows of one split, ready to be made into batches."""

    contexts: Contexts
    targets: Targets
    counts: Mapping[str, NDArray[np.int64]]
    """What each loss is a mean over, (W,): the tokens, images and frames of each window."""

    def __len__(self) -> int:
        return len(self.contexts)


def open_split(model: StoryModel, prepared: Prepared, split: str, features: Features, *, device: torch.device) -> Split:
    """Return all windows of a split for the losses of a model that is on `device`."""
    windows = prepared.windows(split)
    frames = prepared.frames
    encoded: dict[str, Any] = {"visual": model.visual, "text": model.text, "features": features, "device": device}
    looked_for = TargetFeatureSource(frames, windows, **encoded) if model.next_frame is not None else None
    targets = Targets(frames, windows, decoder=model.text_decoder, device=device, features=looked_for)
    each = np.ones(len(windows), dtype=np.int64)
    counts = {
        "text": targets.counts,
        **dict.fromkeys(("image", *model.image_errors), each),
        "alignment": (~windows.repeated[:, :-1]).sum(axis=1),
    }
    if looked_for is not None:
        counts["next_frame"] = each
    return Split(Contexts(frames, windows, **encoded), targets, counts)


@dataclass(kw_only=True)
class LossMeans:
    """The mean losses of some windows. Its fields are plain numbers, so that a checkpoint can hold them."""

    sums: dict[str, float] = field(default_factory=dict)
    """Each loss times what it is a mean over, added up."""
    counts: dict[str, float] = field(default_factory=dict)
    """What each is a mean over, added up."""

    def add(self, losses: Mapping[str, float], split: Split, indices: NDArray[np.int64]) -> None:
        """Add the mean losses of a split's windows with these indices (n,)."""
        for name, counts in split.counts.items():
            count = float(counts[indices].sum())
            self.sums[name] = self.sums.get(name, 0.0) + losses[name] * count
            self.counts[name] = self.counts.get(name, 0.0) + count

    def means(self, weights: Mapping[str, float]) -> dict[str, float]:
        """Return "loss", the weighted sum, and its terms; nothing where there was no window."""
        terms = {name: total / self.counts[name] for name, total in self.sums.items() if self.counts[name]}
        return {"loss": sum(weights[name] * term for name, term in terms.items()), **terms} if terms else {}
