"""What people watch while a model trains: a table of the epochs whose last row is the one that is running."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import TracebackType

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from torch import nn

from ..console import err, say
from ..model.weights import parameter_counts
from ..runs.history import SHOWN, Row, best_row, clock, epoch_table

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

    def __init__(self, *, watched: str) -> None:
        """Begin with no epoch; `watched` is the validation loss that decides which one is the best."""
        self._watched = watched
        self._rows: list[Row] = []
        self._best: Row | None = None
        self._running: _Running | None = None
        self._counted = 0
        self._epochs = self._steps = self._windows = 0
        self._begun = self._epoch_begun = time.perf_counter()
        self._taken = 0
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
        self,
        model: nn.Module,
        *,
        epochs: int,
        steps_an_epoch: int,
        windows: int,
        processes: int = 1,
        taken: int = 0,
        earlier: Sequence[Row] = (),
    ) -> None:
        """Say what is about to be trained, by how many processes.

        Where training goes on, `taken` steps and the `earlier` epochs are those before.
        """
        counts = parameter_counts(model)
        together = f", {processes} processes" if processes > 1 else ""
        before = f", {taken} steps taken before" if taken else ""
        say(
            f"{counts['trained'] / 1e6:.1f} M parameters to train, {counts['frozen'] / 1e6:.1f} M frozen; "
            f"{windows} windows, {epochs} epochs of {steps_an_epoch} steps{together}{before}"
        )
        self._epochs, self._steps, self._windows, self._taken = epochs, steps_an_epoch, windows, taken
        self._rows = list(earlier)
        self._best = best_row(self._rows, self._watched)
        self._begun = self._epoch_begun = time.perf_counter()

    def step(self, epoch: int, step: int, losses: Mapping[str, float], *, learning_rate: float | None = None) -> None:
        """Show the step that has just been taken, with the mean losses of the epoch so far."""
        if not self._live.is_started:
            return
        now = time.perf_counter()
        taken = (epoch - 1) * self._steps + step
        every = self._epochs * self._steps
        self._counted += 1
        row = {
            "epoch": epoch,
            "train": dict(losses),
            "validation": {},
            "learning_rate": learning_rate,
            "windows_per_second": self._windows * self._counted / self._steps / max(1e-9, now - self._epoch_begun),
        }
        left = (now - self._begun) / (taken - self._taken) * (every - taken)
        self._running = _Running(row, step, taken / every, left)

    def epoch(self, row: EpochRow, *, best: bool) -> None:
        """Add an epoch to the table."""
        self._rows.append(asdict(row))
        self._best = self._rows[-1] if best else self._best
        self._running, self._counted, self._epoch_begun = None, 0, time.perf_counter()
        if self._live.is_started:
            return
        train = "  ".join(f"{name} {value:.4f}" for name, value in row.train.items())
        held = f"  validation {row.validation['loss']:.4f}{' *' if best else ''}" if row.validation else ""
        say(f"epoch {row.epoch}/{self._epochs}  {train}{held}  {row.windows_per_second:.1f} windows/s")

    def _render(self) -> RenderableType:
        """Draw the table as wide and high as the terminal is now; called by the live display, in its thread."""
        rows, best, running = list(self._rows), self._best, self._running
        if not rows and running is None:
            return Text()
        most = max(1, min(SHOWN, err.height - ROOM)) if self._live.is_started else SHOWN
        row = running.row if running else None
        table = epoch_table(rows, epochs=self._epochs, best=best, width=err.width, running=row, most=most)
        return Group(table, self._progress(running)) if running else table

    def _progress(self, running: _Running) -> Table:
        step = f"step {running.step}/{self._steps}" if running.step < self._steps else "ending the epoch"
        line = Table.grid(padding=(0, 2, 0, 0))
        bar = ProgressBar(total=1.0, completed=running.done, width=max(4, min(40, err.width - len(step) - 16)))
        line.add_row(step, bar, f"{clock(running.left)} left")
        return line
