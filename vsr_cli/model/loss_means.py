"""Mean losses over many batches, for training and evaluation.

Each batch's loss is weighted by the number of items that it is a mean over: a mean of the batches' means would depend
on how windows are batched, since a text loss is a mean over *tokens*.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..data.batches import Contexts, TargetFeatureSource, Targets, taking
from ..data.cache.extraction import Features
from ..data.prepared import Prepared
from .story_model import StoryModel


@dataclass(frozen=True)
class Split:
    """The windows of one split, as batches of contexts and targets."""

    contexts: Contexts
    targets: Targets
    counts: Mapping[str, NDArray[np.int64]]
    """The number of items of each window that each loss is a mean over, (W,), such as tokens or frames."""

    def __len__(self) -> int:
        return len(self.contexts)


def open_split(model: StoryModel, prepared: Prepared, split: str, features: Features, *, device: torch.device) -> Split:
    """Return all windows of a split, for a model that is on `device`."""
    windows = prepared.windows(split)
    frames = prepared.frames
    encoded: dict[str, Any] = {"visual": model.visual, "text": model.text, "features": features, "device": device}
    needed = any(term.needs_target_features for term in model.terms.values())
    target_features = TargetFeatureSource(frames, windows, **encoded) if needed else None
    # One window's last image is often another one's target: a GPU holds it once.
    images = taking(frames.images, windows.image_rows[:, -2:], device)
    targets = Targets(
        frames, windows, decoder=model.text_decoder, device=device, features=target_features, images=images
    )
    counts = {name: term.counts(windows, targets) for name, term in model.terms.items()}
    return Split(Contexts(frames, windows, **encoded, images=images), targets, counts)


@dataclass(kw_only=True)
class LossMeans:
    """Mean losses, accumulated over windows. The fields are plain numbers, so that a checkpoint can store them."""

    sums: dict[str, float] = field(default_factory=dict)
    """The sum of each loss over its items."""
    counts: dict[str, float] = field(default_factory=dict)
    """The number of items of each loss."""

    def add(self, losses: Mapping[str, float], split: Split, indices: NDArray[np.int64]) -> None:
        """Add the mean losses of a split's windows with these indices (n,)."""
        for name, counts in split.counts.items():
            count = float(counts[indices].sum())
            self.sums[name] = self.sums.get(name, 0.0) + losses[name] * count
            self.counts[name] = self.counts.get(name, 0.0) + count

    def means(self, weights: Mapping[str, float]) -> dict[str, float]:
        """Return "loss", the weighted sum, and its terms; an empty dictionary if there was no window."""
        terms = {name: total / self.counts[name] for name, total in self.sums.items() if self.counts[name]}
        return {"loss": sum(weights[name] * term for name, term in terms.items()), **terms} if terms else {}


def with_weight(losses: Mapping[str, float], weights: Mapping[str, float], also: str = "loss") -> dict[str, float]:
    """Return the sum of losses, those that have a weight, and that of the name `also`: what people are shown."""
    shown = {"loss", also, *(name for name, weight in weights.items() if weight)}
    return {name: loss for name, loss in losses.items() if name in shown}
