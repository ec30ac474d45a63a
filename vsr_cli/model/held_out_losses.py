"""Teacher-forced losses of held-out windows: the same numbers in validation and in `vsr evaluate`.

They depend neither on the batch size of training nor on the number of forward passes or processes. The contrastive
losses depend on which windows share a batch, so both use the batches of `held_out_batches`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ..data.cache.encoding import BATCH
from .loss_means import LossMeans, Split
from .story_model import StoryModel


def held_out_batches(windows: int) -> Sequence[NDArray[np.int64]]:
    """Return the indices of each batch, in one fixed shuffle.

    Without the shuffle a batch would hold windows of one story, whose frames are harder negatives than in training.
    """
    order = np.random.default_rng(0).permutation(windows)
    return [order[start : start + BATCH] for start in range(0, windows, BATCH)]


@torch.no_grad()
def batch_losses(model: StoryModel, split: Split, indices: NDArray[np.int64]) -> dict[str, float]:
    """Return the mean losses of the windows with these indices, in single precision whatever the model trains in."""
    batch = split.contexts.batch(indices), split.targets.batch(indices)
    computed = model.losses(*batch)
    values = torch.stack([loss.float() for loss in computed.values()]).tolist()  # one synchronization for all
    losses = dict(zip(computed, values, strict=True))
    if model.trace is not None and all(map(math.isfinite, losses.values())):
        model.trace.clear()  # what remains of a split names the component that was the first to return NaN
    return losses


def held_out_losses(model: StoryModel, split: Split) -> LossMeans:
    """Return the losses over all windows of a split."""
    means = LossMeans()
    for indices in held_out_batches(len(split)):
        means.add(batch_losses(model, split, indices), split, indices)
    return means
