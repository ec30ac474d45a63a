"""The table of epochs: of a stored history, and live while a model trains."""

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

from ..console import err, say
from ..quantities import counted
from ..runs.history import EpochRow, Row, best_row, losses_of
from .formatting import clock, loss_text
from .tables import Column, fitting_table

MOST_EPOCHS = 24
"""How many epochs a table shows before it leaves out some in the middle."""
OTHER_LINES = 6
"""Lines of a terminal that are not for finished epochs: the table's head, the running epoch, the command line."""
BEST = " *"
NOT_BEST = "  "


def epoch_table(
    rows: Sequence[Row],
    *,
    epochs: int,
    best: Row | None,
    width: int,
    running: Row | None = None,
    most: int = MOST_EPOCHS,
) -> RenderableType:
    """Return a table of at most `most` epochs, the best one marked, and below them the one that is running."""
    shown = _shortened(rows, best, most)
    styles = ["bold" if row and row is best else "" for row in shown]
    if running:
        shown, styles = [*shown, running], [*styles, "dim"]
    every = [row for row in shown if row]
    columns = [Column("epoch", [f"{row['epoch']}/{epochs}" if row else "…" for row in shown])]
    for at, name in enumerate(losses_of(every)):
        cells = [loss_text(row["train"].get(name)) if row else "" for row in shown]
        columns.append(Column(name, cells, rank=2 if at else 0))
    if any(row["validation"] for row in every):
        columns.insert(2, Column("validation", [_validation(row, best=row is best) if row else "" for row in shown]))
    rates = [row and row["learning_rate"] for row in shown]
    columns.append(Column("rate", ["" if rate is None else f"{rate:.1e}" for rate in rates], rank=3))
    columns.append(Column("windows/s", [f"{row['windows_per_second']:.1f}" if row else "" for row in shown], rank=4))
    return fitting_table(columns, width=width, styles=styles)


def _validation(row: Row, *, best: bool) -> str:
    return loss_text(row["validation"]["loss"]) + (BEST if best else NOT_BEST) if row["validation"] else ""


def _shortened(rows: Sequence[Row], best: Row | None, most: int) -> list[Row | None]:
    """Leave out epochs in the middle, but never the best one; None stands for those left out."""
    if len(rows) <= most:
        return list(rows)
    head = min(3, most // 4)
    tail = max(1, most - head - 3)  # three lines: the best one, and the gaps on either side of it
    chosen = [number for number, row in enumerate(rows) if number < head or number >= len(rows) - tail or row is best]
    shown: list[Row | None] = []
    for before, position in zip([-1, *chosen], chosen, strict=False):
        shown += [None] if position > before + 1 else []
        shown.append(rows[position])
    return shown


@dataclass(frozen=True)
class _Running:
    """The epoch that is running."""

    row: Row
    step: int
    done: float
    """Fraction of all steps that are done."""
    left: float
    """Estimated seconds until the end of training."""


class TrainingDisplay:
    """A live table in a terminal; in a log, one line per epoch."""

    def __init__(self, *, watched: str) -> None:
        """Start without epochs; `watched` is the validation loss that decides which one is the best."""
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
        parameters: Mapping[str, int],
        *,
        epochs: int,
        steps_per_epoch: int,
        windows: int,
        processes: int = 1,
        taken: int = 0,
        earlier: Sequence[Row] = (),
    ) -> None:
        """Log the counts of trained and frozen `parameters` and the size of the training.

        `taken` and `earlier` are the steps and epochs before a resumption.
        """
        distributed = f", {processes} processes" if processes > 1 else ""
        resumed = f", resuming after {counted(taken, 'step')}" if taken else ""
        say(
            f"{parameters['trained'] / 1e6:.1f} M parameters to train, {parameters['frozen'] / 1e6:.1f} M frozen; "
            f"{counted(windows, 'window')}, {counted(epochs, 'epoch')} of {counted(steps_per_epoch, 'step')}"
            f"{distributed}{resumed}"
        )
        self._epochs, self._steps, self._windows, self._taken = epochs, steps_per_epoch, windows, taken
        self._rows = list(earlier)
        self._best = best_row(self._rows, self._watched)
        self._begun = self._epoch_begun = time.perf_counter()

    def step(self, epoch: int, step: int, losses: Mapping[str, float], *, learning_rate: float | None = None) -> None:
        """Show a step, with the mean losses of the epoch so far."""
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
        """Return the table at the current size of the terminal; called by the live display, in its thread."""
        rows, best, running = list(self._rows), self._best, self._running
        if not rows and running is None:
            return Text()
        most = max(1, min(MOST_EPOCHS, err.height - OTHER_LINES)) if self._live.is_started else MOST_EPOCHS
        row = running.row if running else None
        table = epoch_table(rows, epochs=self._epochs, best=best, width=err.width, running=row, most=most)
        return Group(table, self._progress(running)) if running else table

    def _progress(self, running: _Running) -> Table:
        step = f"step {running.step}/{self._steps}" if running.step < self._steps else "finishing the epoch"
        line = Table.grid(padding=(0, 2, 0, 0))
        bar = ProgressBar(total=1.0, completed=running.done, width=max(4, min(40, err.width - len(step) - 16)))
        line.add_row(step, bar, f"{clock(running.left)} left")
        return line
