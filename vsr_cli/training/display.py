"""What people watch while a model trains: a table of the epochs whose last row is the one that is running."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import TracebackType

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from torch import nn

from ..console import err, say
from ..report.history import SHOWN, Row, clock, epoch_table

ROOM = 6
"""Lines of a terminal that are not for finished epochs: the table's head, the running epoch, what was typed."""


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


@dataclass(frozen=True)
class _Running:
    """The epoch that is running, as far as it has come."""

    row: Row
    step: int
    done: float
    """The share of all steps that are done."""
    left: float
    """Seconds until the training's end, at the speed so far."""


class TrainingDisplay:
    """A live table in a terminal; in a log, one line an epoch."""

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._running: _Running | None = None
        self._sums: dict[str, float] = {}
        self._counted = 0
        self._epochs = self._steps = self._windows = 0
        self._begun = self._epoch_begun = time.perf_counter()
        self._skipped: int | None = None
        self._live = Live(console=err, refresh_per_second=4, get_renderable=self._render)

    def __enter__(self) -> TrainingDisplay:
        if err.is_terminal and not err.is_dumb_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running = None
        self._live.stop()

    def begin(
        self, model: nn.Module, *, epochs: int, steps_an_epoch: int, windows: int, processes: int, taken: int
    ) -> None:
        """Say what is about to be trained; `taken` steps were so before."""
        trained = sum(item.numel() for item in model.parameters() if item.requires_grad)
        frozen = sum(item.numel() for item in model.parameters() if not item.requires_grad)
        shared = f", shared by {processes} processes" if processes > 1 else ""
        say(
            f"{trained / 1e6:.1f} M parameters to train, {frozen / 1e6:.1f} M frozen; "
            f"{windows} windows, {epochs} epochs of {steps_an_epoch} steps{shared}"
        )
        if taken:
            epoch, step = divmod(taken, steps_an_epoch)
            say(f"going on after epoch {epoch}" if step == 0 else f"going on after step {step} of epoch {epoch + 1}")
        self._epochs, self._steps, self._before = epochs, steps_an_epoch, taken
        self._started = time.perf_counter()

    def step(self, epoch: int, step: int, losses: Mapping[str, float], *, learning_rate: float | None = None) -> None:
        """Show the step that has just been taken."""
        if not self._live.is_started:
            return
        now = time.perf_counter()
        taken = (epoch - 1) * self._steps + step
        if self._skipped is None:
            self._skipped = taken - 1  # by the training that this one goes on from
        every = self._epochs * self._steps
        self._sums = {name: self._sums.get(name, 0.0) + value for name, value in losses.items()}
        self._counted += 1
        row = {
            "epoch": epoch,
            "train": {name: value / self._counted for name, value in self._sums.items()},
            "validation": {},
            "learning_rate": learning_rate,
            "windows_per_second": self._windows * self._counted / self._steps / max(1e-9, now - self._epoch_begun),
        }
        left = (now - self._begun) / (taken - self._skipped) * (every - taken)
        self._running = _Running(row, step, taken / every, left)

    def epoch(self, row: EpochRow, *, best: bool) -> None:
        """Add an epoch to the table."""
        self._rows.append(asdict(row))
        self._running, self._sums, self._counted, self._epoch_begun = None, {}, 0, time.perf_counter()
        if self._live.is_started:
            return
        train = "  ".join(f"{name} {value:.4f}" for name, value in row.train.items())
        held = f"  validation {row.validation['loss']:.4f}{' *' if best else ''}" if row.validation else ""
        say(f"epoch {row.epoch}/{self._epochs}  {train}{held}  {row.windows_per_second:.1f} windows/s")

    def _render(self) -> RenderableType:
        """Draw the table as wide and high as the terminal is now; called by the live display, in its thread."""
        rows, running = list(self._rows), self._running
        if not rows and running is None:
            return Text()
        if running is None and not self._live.is_started:
            return epoch_table(rows, epochs=self._epochs, width=err.width)
        most = max(1, min(SHOWN, err.height - ROOM))
        table = epoch_table(
            rows, epochs=self._epochs, width=err.width, running=running.row if running else None, most=most
        )
        return Group(table, self._progress(running)) if running else table

    def _progress(self, running: _Running) -> Table:
        step = f"step {running.step}/{self._steps}" if running.step < self._steps else "ending the epoch"
        line = Table.grid(padding=(0, 2, 0, 0))
        bar = ProgressBar(total=1.0, completed=running.done, width=max(4, min(40, err.width - len(step) - 16)))
        line.add_row(step, bar, f"{clock(running.left)} left")
        return line
