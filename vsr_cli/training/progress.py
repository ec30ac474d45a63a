"""The progress of a training run, and which windows each of its steps takes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..data.cache.encoding import BATCH
from ..model.loss_means import LossMeans


@dataclass(kw_only=True)
class Progress:
    """The progress of a run. It changes at each step, and checkpoints store it."""

    windows_per_step: int
    """Of all processes and passes together."""
    windows_per_pass: int
    """Of all processes in one forward pass; halved if that does not fit in memory."""
    windows_validated: int = BATCH
    """Of one process in one validation pass; halved likewise."""
    epoch: int = 1
    """The current epoch, from 1."""
    step: int = 0
    """Steps taken in the current epoch."""
    losses: LossMeans = field(default_factory=LossMeans)
    """Of the epoch so far."""
    seconds: float = 0.0
    """Time spent on the steps of the epoch so far."""
    best: float | None = None
    """The best value of the watched validation loss."""
    epochs_since_best: int = 0
    history_bytes: int = 0
    """Length of history.jsonl."""

    def steps_per_epoch(self, windows: int) -> int:
        """Return the number of steps in which that many windows are seen once."""
        return math.ceil(windows / self.windows_per_step)

    def took_step(self, *, seconds: float) -> None:
        """Count a step, whose losses have been added."""
        self.seconds += seconds
        self.step += 1

    def took_epoch(self, watched: float | None, *, history_bytes: int) -> bool:
        """End the epoch, and return whether the watched validation loss, if there is one, is the best so far.

        A loss that is not finite never is.
        """
        best = self.best if self.best is not None and math.isfinite(self.best) else math.inf
        better = watched is not None and math.isfinite(watched) and watched < best
        if better:
            self.best, self.epochs_since_best = watched, 0
        else:
            self.epochs_since_best += 1
        self.epoch, self.step = self.epoch + 1, 0
        self.losses, self.seconds = LossMeans(), 0.0
        self.history_bytes = history_bytes
        return better


def shuffled(windows: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the order (windows,) of an epoch, which depends on seed and epoch alone."""
    return np.random.default_rng([seed, epoch]).permutation(windows)


def in_parts(indices: NDArray[np.int64], size: int, *, start: int = 0) -> Iterator[NDArray[np.int64]]:
    """Yield parts of at most `size` indices, from part number `start` on."""
    for begin in range(start * size, len(indices), size):
        yield indices[begin : begin + size]
