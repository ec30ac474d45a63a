"""What people watch while a model trains: a table that grows by a row an epoch, above the step that is running."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text
from torch import nn

from ..console import err, say


@dataclass(frozen=True, kw_only=True)
class EpochRow:
    """One epoch, as history.jsonl has it."""

    epoch: int
    steps: int
    """Optimizer steps since the start."""
    train: dict[str, float]
    """Mean losses by name, "loss" the weighted sum of the others."""
    validation: dict[str, float]
    """Likewise, teacher-forced; empty where there is no validation split."""
    learning_rate: float
    windows_per_second: float
    seconds: float


class TrainingDisplay:
    """A live table in a terminal; in a log, one line an epoch."""

    def __init__(self) -> None:
        self._rows: list[tuple[EpochRow, bool]] = []
        self._line = Text()
        self._live = Live(console=err, refresh_per_second=4, transient=False)
        self._started = time.perf_counter()
        self._epochs = self._steps = 0

    def __enter__(self) -> TrainingDisplay:
        if err.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live.is_started:
            self._line = Text()
            self._live.update(self._table(), refresh=True)
            self._live.stop()

    def begin(self, model: nn.Module, *, epochs: int, steps_an_epoch: int, windows: int) -> None:
        """Say what is about to be trained."""
        trained = sum(item.numel() for item in model.parameters() if item.requires_grad)
        frozen = sum(item.numel() for item in model.parameters() if not item.requires_grad)
        say(
            f"{trained / 1e6:.1f} M parameters to train, {frozen / 1e6:.1f} M frozen; "
            f"{windows} windows, {epochs} epochs of {steps_an_epoch} steps"
        )
        self._epochs, self._steps = epochs, steps_an_epoch
        self._started = time.perf_counter()

    def step(self, epoch: int, step: int, losses: Mapping[str, float]) -> None:
        """Show the step that has just been taken."""
        if not self._live.is_started:
            return
        done = ((epoch - 1) * self._steps + step) / (self._epochs * self._steps)
        left = (time.perf_counter() - self._started) * (1 - done) / done
        terms = "  ".join(f"{name} {value:.3f}" for name, value in losses.items())
        self._line = Text(f"epoch {epoch}, step {step}/{self._steps}  {terms}  {_clock(left)} left", style="dim")
        self._live.update(Group(self._table(), self._line))

    def epoch(self, row: EpochRow, *, best: bool) -> None:
        """Add an epoch to the table."""
        self._rows.append((row, best))
        if self._live.is_started:
            self._live.update(Group(self._table(), self._line))
            return
        train = "  ".join(f"{name} {value:.4f}" for name, value in row.train.items())
        held = f"  validation {row.validation['loss']:.4f}{' *' if best else ''}" if row.validation else ""
        say(f"epoch {row.epoch}/{self._epochs}  {train}{held}  {row.windows_per_second:.1f} windows/s")

    def _table(self) -> Table:
        table = Table(box=None, padding=(0, 1))
        for title in ("epoch", "loss", "text", "image", "alignment", "validation", "rate", "windows/s"):
            table.add_column(title, justify="right")
        for row, best in self._rows:
            held = f"{row.validation['loss']:.4f}{' *' if best else '  '}" if row.validation else "-"
            table.add_row(
                f"{row.epoch}/{self._epochs}",
                *(f"{row.train[name]:.4f}" for name in ("loss", "text", "image", "alignment")),
                held,
                f"{row.learning_rate:.1e}",
                f"{row.windows_per_second:.1f}",
            )
        return table


def _clock(seconds: float) -> str:
    return f"{int(seconds // 60)}:{int(seconds % 60):02d}"
