"""The losses of a model that sees all of the target that came before: no score, and named so.

They are the same numbers when training validates and when a run is evaluated, whatever the batch size, the number of
passes or of processes. The contrastive losses depend on which windows are in a batch together, so batches are the same
in both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..model.losses.means import LossMeans, Split
from ..model.story_model import StoryModel

BATCH = 32


def held_out_batches(windows: int) -> Sequence[NDArray[np.int64]]:
    """Return the indices of each batch, in one fixed shuffle.

    In their order, windows would be of one story, whose frames are harder negatives of each other than training's.
    """
    order = np.random.default_rng(0).permutation(windows)
    return [order[start : start + BATCH] for start in range(0, windows, BATCH)]


@torch.no_grad()
def batch_losses(model: StoryModel, split: Split, indices: NDArray[np.int64]) -> dict[str, float]:
    """Return the mean losses of the windows with these indices, in single precision whatever the model trains in."""
    losses = {
        name: float(loss) for name, loss in model(split.contexts.batch(indices), split.targets.batch(indices)).items()
    }
    if model.trace is not None and all(map(math.isfinite, losses.values())):
        model.trace.clear()  # what is left of a split tells which part was the first to give NaN
    return losses


def held_out_losses(model: StoryModel, split: Split) -> LossMeans:
    """Return the losses over all windows of a split."""
    found = LossMeans()
    for indices in held_out_batches(len(split)):
        found.add(batch_losses(model, split, indices), split, indices)
    return found


def teacher_forced(found: LossMeans, weights: Mapping[str, float]) -> dict[str, Any]:
    """Return the mean losses, and the perplexity per token of the run's own vocabulary."""
    losses = found.means(weights)
    return {
        "losses": losses,
        "perplexity": math.exp(losses["text"]) if losses["text"] < 700 else None,  # beyond, no float holds it
        "tokens": int(found.counts["text"]),
    }
