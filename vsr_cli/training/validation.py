"""The validation of an epoch: the same numbers as the teacher-forced block of `vsr evaluate`."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from accelerate import Accelerator
from accelerate.utils import gather_object
from numpy.typing import NDArray

from ..console import say
from ..model.held_out_losses import batch_losses, held_out_batches
from ..model.loss_means import LossMeans, Split
from ..model.story_model import StoryModel
from .memory import halve_to_fit
from .progress import Progress, in_parts


def validate(
    model: StoryModel,
    split: Split,
    accelerator: Accelerator,
    *,
    progress: Progress,
    after_batch: Callable[[], object],
) -> dict[str, float]:
    """Return the mean losses over a split, teacher-forced, the same on every process; {} if the split is empty.

    Each process takes whole batches, so the number of processes changes nothing. All call `after_batch` together.
    Raises VsrError if a single window does not fit in memory.
    """
    model.eval()
    own = LossMeans()
    batches = held_out_batches(len(split))
    for first in range(0, len(batches), accelerator.num_processes):
        for indices in batches[first : first + accelerator.num_processes][accelerator.process_index :][:1]:
            _add(own, model, split, indices, progress=progress)
        after_batch()
    everyones: list[LossMeans] = gather_object([own])
    whole = LossMeans()
    for name in split.counts:
        whole.sums[name] = math.fsum(means.sums.get(name, 0.0) for means in everyones)
        whole.counts[name] = math.fsum(means.counts.get(name, 0.0) for means in everyones)
    return whole.means(model.objective.weights)


def _add(means: LossMeans, model: StoryModel, split: Split, indices: NDArray[np.int64], *, progress: Progress) -> None:
    """Add the losses of a batch, in parts if it does not fit in memory."""

    def measure(size: int) -> list[tuple[NDArray[np.int64], dict[str, float]]]:
        return [(part, batch_losses(model, split, part)) for part in in_parts(indices, size)]

    before = progress.windows_validated
    measured, progress.windows_validated = halve_to_fit(measure, before)
    if progress.windows_validated < before:
        say(
            f"out of memory with {before} windows in one pass: validation continues with {progress.windows_validated}, "
            "which leaves contrastive losses fewer negatives than in 'vsr evaluate'"
        )
    for part, losses in measured:
        means.add(losses, split, part)
