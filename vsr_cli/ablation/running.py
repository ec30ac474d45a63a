"""Running the cells of an ablation, several at once, with a live display of their progress."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from ..console import err, say
from ..errors import VsrError
from ..escaping import visible
from ..report.formatting import clock
from ..runs.results import evaluations_of, read_stored
from ..runs.summary import summarise
from ..training.graceful_shutdown import graceful_shutdown
from .engines import Engine, Started
from .plan import Ablation, Cell, Plan

PAUSE = 0.2
"""Seconds between two polls of the running cells."""
LOG_TAIL = 4000
"""Bytes at the end of a log that are searched for the reason of a failure."""


@dataclass
class Outcome:
    """How the cells ended."""

    done: list[Cell] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    """The reason, by name of the cell."""
    not_run: list[Cell] = field(default_factory=list)
    """Cells for which there was no time, or which were interrupted."""
    signal: int = 0
    """The signal that interrupted the ablation, 0 for none."""


@dataclass(frozen=True)
class _Running:
    cell: Cell
    started: Started
    logged: int
    """The length of its log before it started, in bytes."""


def is_done(plan: Plan, ablation: Ablation, cell: Cell) -> bool:
    """Whether a cell is trained, and evaluated as planned."""
    folder = ablation.run(cell)
    if not (folder / "run.json").exists() or summarise(folder).status != "finished":
        return False
    try:
        stored = read_stored(folder, evaluations_of(folder) / plan.split)
        return bool(stored and not stored.stale and set(plan.metrics) <= set(stored.result["metrics"]))
    except VsrError:
        return False  # damaged, or of another version: evaluating the cell again repairs it


def run_cells(plan: Plan, ablation: Ablation, engine: Engine, *, jobs: int, minutes: float | None) -> Outcome:
    """Run all cells that are not done yet, `jobs` at once. A failure does not affect other cells.

    After `minutes` no further cell starts. A signal stops the running ones, which save their state.
    """
    outcome = Outcome(done=[cell for cell in plan.cells if is_done(plan, ablation, cell)])
    waiting = [cell for cell in plan.cells if cell not in outcome.done]
    if outcome.done:
        say(f"{len(outcome.done)} of {len(plan.cells)} runs are already done")
    running: list[_Running] = []
    begun = time.monotonic()
    with graceful_shutdown() as wish, CellsDisplay(plan, ablation, jobs=jobs, done=len(outcome.done)) as display:
        try:
            while waiting or running:
                for each in [each for each in running if each.started.done()]:
                    running.remove(each)
                    how = _note_end(plan, ablation, each, outcome)
                    display.end(each.cell, how, reason=outcome.failed.get(each.cell.name))
                if wish.signal and not outcome.signal:
                    outcome.signal = wish.signal
                    for each in running:
                        each.started.stop()
                if wish.signal or (minutes is not None and time.monotonic() - begun >= 60 * minutes):
                    outcome.not_run += waiting
                    waiting = []
                while waiting and len(running) < jobs:
                    cell = waiting.pop(0)
                    words = ["ablate-cell", str(ablation.folder), cell.name]
                    started, logged = start_logged(engine, words, ablation.log(cell.name))
                    running.append(_Running(cell, started, logged))
                    display.begin(cell)
                display.show()
                time.sleep(PAUSE)
        finally:
            for each in running:
                each.started.stop()
    return outcome


def _note_end(plan: Plan, ablation: Ablation, ended: _Running, outcome: Outcome) -> Ending:
    cell = ended.cell
    if is_done(plan, ablation, cell):
        outcome.done.append(cell)
        return "done"
    if outcome.signal:
        outcome.not_run.append(cell)
        return "stopped"
    outcome.failed[cell.name] = last_error(ablation.log(cell.name), ended.logged)
    return "failed"


def start_logged(engine: Engine, words: Sequence[str], log: Path) -> tuple[Started, int]:
    """Start `vsr WORDS`; also return the length of its log before, in bytes, for `last_error`."""
    log.touch()
    logged = log.stat().st_size
    return engine.start(words, log), logged


def last_error(log: Path, start: int) -> str:
    """Return the error in a log after its first `start` bytes, else its last line."""
    try:
        with log.open("rb") as file:
            file.seek(max(start, log.stat().st_size - LOG_TAIL))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    except OSError:
        lines = []
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    last = (errors or lines or ["it ended without output"])[-1]
    return re.sub(r"\x1b\[[0-9;]*m", "", last)


Ending = Literal["done", "failed", "stopped"]
"""Stopped: interrupted, and resumed by the same command."""


class CellsDisplay:
    """Live lines in a terminal; in a log, one line when a cell starts and one when it ends."""

    def __init__(self, plan: Plan, ablation: Ablation, *, jobs: int, done: int) -> None:
        """Start with `done` finished cells, of which `jobs` run at once."""
        self._plan, self._ablation, self._jobs = plan, ablation, jobs
        self._ended = done
        self._begun: dict[str, tuple[Cell, float]] = {}
        self._took: list[float] = []
        """Seconds of each cell that this process has finished."""
        self._live = Live(console=err, auto_refresh=False, transient=True)

    def __enter__(self) -> CellsDisplay:
        if err.is_terminal and not err.is_dumb_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def begin(self, cell: Cell) -> None:
        """Report that a cell has started."""
        self._begun[cell.name] = (cell, time.monotonic())
        if not self._live.is_started:
            say(f"started {self._plan.title(cell)}")

    def end(self, cell: Cell, how: Ending, *, reason: str | None) -> None:
        """Report how a cell has ended, with the reason of a failure."""
        seconds = time.monotonic() - self._begun.pop(cell.name)[1]
        self._ended += 1
        if how == "done":
            self._took.append(seconds)
        because = f": {reason} (log: {self._ablation.log(cell.name)})" if reason else ""
        count = f"{self._ended} of {len(self._plan.cells)}{self._left()}"
        say(f"{how:7} {self._plan.title(cell)}, in {clock(seconds)}; {count}{because}")

    def show(self) -> None:
        """Update the live lines."""
        if self._live.is_started:
            self._live.update(self._render(), refresh=True)

    def _render(self) -> RenderableType:
        lines = [Text(f"{self._ended} of {len(self._plan.cells)} runs finished{self._left()}", style="bold")]
        lines += [
            Text(visible(self._line(cell, begun)), no_wrap=True, overflow="ellipsis")
            for cell, begun in self._begun.values()
        ]
        return Group(*lines)

    def _line(self, cell: Cell, begun: float) -> str:
        return f"  {self._plan.title(cell)}: {self._stage(cell)}, {clock(time.monotonic() - begun)} elapsed"

    def _stage(self, cell: Cell) -> str:
        folder = self._ablation.run(cell)
        run = summarise(folder) if (folder / "run.json").exists() else None
        if run is None or not run.epochs_done:
            return "starting"
        if run.status == "finished":
            return "evaluating"
        left = run.seconds / run.epochs_done * (run.epochs_wanted - run.epochs_done)
        return f"epoch {run.epochs_done} of {run.epochs_wanted} done, about {clock(left)} of training left"

    def _left(self) -> str:
        """Return the estimated remaining time, from the durations of finished cells; empty without any."""
        if not self._took:
            return ""
        mean = sum(self._took) / len(self._took)
        elapsed = sum(min(mean, time.monotonic() - begun) for _, begun in self._begun.values())
        seconds = ((len(self._plan.cells) - self._ended) * mean - elapsed) / self._jobs
        return f", about {clock(max(0.0, seconds))} left" if self._ended < len(self._plan.cells) else ""
