"""The validation of an epoch: the same numbers as the teacher-forced block of `vsr evaluate`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from accelerate import Accelerator
from accelerate.utils.memory import clear_device_cache
from numpy.typing import NDArray

from ..console import say
from ..errors import VsrError
from ..model.losses.alignment import Alignment
from ..model.losses.held_out import batch_losses, held_out_batches
from ..model.losses.means import LossMeans, Split
from ..model.story_model import StoryModel
from .allocator import ONE_WINDOW_IS_TOO_MUCH, ran_out_of_memory
from .distributed import exchange
from .progress import Progress, in_parts


def validate(
    model: StoryModel,
    split: Split,
    accelerator: Accelerator,
    *,
    progress: Progress,
    after_batch: Callable[[], None],
) -> dict[str, float]:
    """Return the mean losses over a split, teacher-forced, the same on every process; nothing where the split is empty.

    Each process measures whole batches of its own, so that the number of processes changes nothing. All call
    `after_batch` together. Raises VsrError if a single window does not fit in memory.
    """
    model.eval()
    found = LossMeans()
    batches = held_out_batches(len(split))
    with _own_frames_alone(model.alignment):
        for first in range(0, len(batches), accelerator.num_processes):
            for indices in batches[first : first + accelerator.num_processes][accelerator.process_index :][:1]:
                _add(found, model, split, indices, progress=progress)
            after_batch()
    names = list(split.counts)
    own = [*(found.sums.get(name, 0.0) for name in names), *(found.counts.get(name, 0.0) for name in names)]
    added = [math.fsum(column) for column in zip(*exchange(own, accelerator), strict=True)]
    whole = LossMeans(
        sums=dict(zip(names, added[: len(names)], strict=True)),
        counts=dict(zip(names, added[len(names) :], strict=True)),
    )
    return whole.means(model.weights.model_dump())


def _add(found: LossMeans, model: StoryModel, split: Split, indices: NDArray[np.int64], *, progress: Progress) -> None:
    """Add the losses of a batch, in parts where it does not fit in memory as a whole."""
    parts = list(in_parts(indices, progress.windows_validated))
    while parts:
        part, failed = parts[0], False
        try:
            found.add(batch_losses(model, split, part), split, part)
        except (RuntimeError, MemoryError) as error:
            if not ran_out_of_memory(error):
                raise
            # Another attempt starts outside of this block, since the error holds on to what was computed.
            failed = True
        if not failed:
            parts.pop(0)
            continue
        clear_device_cache(garbage_collection=True)
        if len(part) == 1:
            raise VsrError(ONE_WINDOW_IS_TOO_MUCH)
        progress.windows_validated = math.ceil(len(part) / 2)
        say(
            f"{len(part)} windows do not fit in memory at once: validation goes on with {progress.windows_validated}, "
            "which leaves the alignment loss fewer negatives than 'vsr evaluate' has"
        )
        parts = list(in_parts(np.concatenate(parts), progress.windows_validated))


@contextmanager
def _own_frames_alone(alignment: Alignment) -> Iterator[None]:
    """Let the alignment loss be of the frames of this process, whatever the others do."""
    together = alignment.gather
    alignment.gather = lambda own: own
    try:
        yield
    finally:
        alignment.gather = together
