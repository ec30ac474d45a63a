"""The interface through which the training loop reports its progress; `report.epochs` implements it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from ..runs.history import EpochRow, Row


class TrainingDisplay(Protocol):
    """What the loop calls: once before training, after each step, and after each epoch."""

    def begin(
        self,
        parameters: Mapping[str, int],
        *,
        epochs: int,
        steps_per_epoch: int,
        windows: int,
        processes: int = 1,
        taken: int = 0,
        earlier: Sequence[Row] = (),
    ) -> None:
        """Start, with the counts of trained and frozen `parameters`.

        `taken` and `earlier` are the steps and epochs before a resumption.
        """

    def step(self, epoch: int, step: int, losses: Mapping[str, float], *, learning_rate: float | None = None) -> None:
        """Report a step, with the mean losses of the epoch so far."""

    def epoch(self, row: EpochRow, *, best: bool) -> None:
        """Report a finished epoch."""
