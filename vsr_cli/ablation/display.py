"""What people watch while the cells of an ablation run: a line for each that does, and the time that all will take."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Literal

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from ..console import err, say
from ..escaping import visible
from ..runs.history import clock
from ..runs.summary import summarise
from .plan import Ablation, Cell, Plan

Ending = Literal["done", "failed", "kept"]
"""Kept: stopped before its end, to go on another time."""


class CellsDisplay:
    """Live lines in a terminal; in a log, one line where a cell begins and one where it ends."""

    def __init__(self, plan: Plan, ablation: Ablation, *, jobs: int, done: int) -> None:
        """Begin with so many cells done, of which so many run at once."""
        self._plan, self._ablation, self._jobs = plan, ablation, jobs
        self._ended = done
        self._begun: dict[str, tuple[Cell, float]] = {}
        self._took: list[float] = []
        """Seconds of each cell that has run to its end here."""
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
        """Tell that a cell runs from now on."""
        self._begun[cell.name] = (cell, time.monotonic())
        if not self._live.is_started:
            say(f"begun  {self._plan.title(cell)}")

    def end(self, cell: Cell, how: Ending, *, reason: str | None) -> None:
        """Tell how a cell has ended, and the reason if it has failed."""
        seconds = time.monotonic() - self._begun.pop(cell.name)[1]
        self._ended += 1
        if how == "done":
            self._took.append(seconds)
        because = f": {reason} (all of it: {self._ablation.log(cell.name)})" if reason else ""
        count = f"{self._ended} of {len(self._plan.cells)}{self._left()}"
        say(f"{how:7}{self._plan.title(cell)}, in {clock(seconds)}; {count}{because}")

    def show(self) -> None:
        """Draw the lines as they are now."""
        if self._live.is_started:
            self._live.update(self._render(), refresh=True)

    def _render(self) -> RenderableType:
        lines = [Text(f"{self._ended} of {len(self._plan.cells)} runs have ended{self._left()}", style="bold")]
        lines += [
            Text(visible(self._line(cell, begun)), no_wrap=True, overflow="ellipsis")
            for cell, begun in self._begun.values()
        ]
        return Group(*lines)

    def _line(self, cell: Cell, begun: float) -> str:
        return f"  {self._plan.title(cell)}: {self._stage(cell)}, {clock(time.monotonic() - begun)} gone"

    def _stage(self, cell: Cell) -> str:
        folder = self._ablation.run(cell)
        run = summarise(folder) if (folder / "run.json").exists() else None
        if run is None or not run.epochs_done:
            return "beginning"
        if run.status == "finished":
            return "evaluating"
        left = run.seconds / run.epochs_done * (run.epochs_wanted - run.epochs_done)
        return f"epoch {run.epochs_done} of {run.epochs_wanted} done, about {clock(left)} of training left"

    def _left(self) -> str:
        """Say how long it all takes from now on, as far as the cells that have ended tell."""
        if not self._took:
            return ""
        typical = sum(self._took) / len(self._took)
        gone = sum(min(typical, time.monotonic() - begun) for _, begun in self._begun.values())
        seconds = ((len(self._plan.cells) - self._ended) * typical - gone) / self._jobs
        return f", about {clock(max(0.0, seconds))} left" if self._ended < len(self._plan.cells) else ""
