"""The trials of a search, several at once: each is reported epoch by epoch, and stopped where it is hopeless."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..ablation.engines import Engine, Started
from ..ablation.running import last_error, start_logged
from ..console import say
from ..errors import VsrError
from ..files.atomic import remove, write_json
from ..report.formatting import clock, loss_text
from ..runs.history import best_row, read_history
from ..runs.run import FROZEN, HALVES, Run
from ..runs.summary import summarise
from ..training.graceful_shutdown import graceful_shutdown
from .folder import Search, Tuning
from .space import assignments
from .study import Study

PAUSE = 0.2
"""Seconds between two looks at the running trials."""
REASON = "reason"
"""The attribute of a trial that says why it failed."""


@dataclass
class _Running:
    trial: Any
    started: Started
    logged: int
    """The length of its log before it started, in bytes."""
    begun: float
    reported: int
    """Its epochs that were reported."""
    pruned: bool = False


@dataclass(kw_only=True)
class Trials:
    """The trials of a search that this process runs."""

    study: Study
    tuning: Tuning
    search: Search
    engine: Engine
    settings_of: Callable[[Sequence[str]], Mapping[str, Any]]
    """Returns the whole configuration with some assignments. Raises VsrError if they do not go together."""

    def run(self, *, trials: int, jobs: int, minutes: float | None) -> int:
        """Run until `trials` have ended, `jobs` at once; return the signal that interrupted it, 0 for none.

        After `minutes` no further trial starts. A signal stops the running ones, which save their state.
        """
        running: list[_Running] = []
        interrupted = self.study.running()
        if count := self.study.ended():
            say(f"{count} of {trials} trials have already ended")
        begun, took = time.monotonic(), list[float]()
        with graceful_shutdown() as wish:
            try:
                while True:
                    for each in list(running):
                        self._report(each)
                        if each.started.done():
                            self._report(each)
                            running.remove(each)
                            took.append(time.monotonic() - each.begun)
                            left = (trials - self.study.ended() - 1) * sum(took) / len(took) / jobs
                            self._end(each, stopped=bool(wish.signal), left=max(0.0, left))
                    if wish.signal:
                        for each in running:
                            each.started.stop()
                    over = minutes is not None and time.monotonic() - begun >= 60 * minutes
                    waiting = trials - self.study.ended() - len(running)
                    while not (wish.signal or over) and len(running) < jobs and waiting > 0:
                        trial = interrupted.pop(0) if interrupted else self.study.ask()
                        waiting -= 1
                        if started := self._start(trial):
                            running.append(started)
                    if not running and (wish.signal or over or waiting <= 0):
                        return wish.signal
                    time.sleep(PAUSE)
            finally:
                for each in running:
                    each.started.stop()

    def _start(self, trial: Any) -> _Running | None:
        """Start a trial; None where its values do not go together, which counts as failed."""
        name = self.tuning.name(trial.number)
        chosen = assignments(self.search.space, trial.params)
        try:
            settings = self.settings_of(chosen)
        except VsrError as error:
            self._fail(trial, error.lines[0])
            return None
        write_json(self.tuning.settings(name), {"number": trial.number, "values": chosen, "settings": dict(settings)})
        say(f"{name}: {', '.join(chosen)}")
        started, logged = start_logged(self.engine, ["tune-cell", str(self.tuning.folder), name], self.tuning.log(name))
        reported = len(self.study.trials()[trial.number].intermediate_values)
        return _Running(trial, started, logged, time.monotonic(), reported)

    def _report(self, running: _Running) -> None:
        """Report the new epochs of a trial, and stop it if the median of the others at one of them is better.

        The last epoch decides nothing, so that the outcome does not depend on how soon this process looks.
        """
        folder = self.tuning.run(running.trial.number)
        if running.pruned or not (folder / "history.jsonl").exists():
            return
        run = Run(folder)
        epochs = int(run.config()["training"]["epochs"])
        for row in read_history(run.history)[running.reported :]:
            running.reported += 1
            running.trial.report(row["validation"][self.search.watched], row["epoch"])
            if row["epoch"] < epochs and running.trial.should_prune():
                running.pruned = True
                running.started.stop()
                return

    def _end(self, ended: _Running, *, stopped: bool, left: float) -> None:
        number = ended.trial.number
        name, folder = self.tuning.name(number), self.tuning.run(number)
        took = clock(time.monotonic() - ended.begun)
        if ended.pruned:
            self.study.tell(ended.trial, None, state="pruned")
            drop_weights(Run(folder))
            say(f"{name}: stopped after epoch {ended.reported}, worse than the median, in {took}; {self._count(left)}")
            return
        finished = (folder / "run.json").exists() and summarise(folder).status == "finished"
        best = best_row(read_history(Run(folder).history), self.search.watched) if finished else None
        if best is not None:
            value = float(best["validation"][self.search.watched])
            before = self.best()
            self.study.tell(ended.trial, value, state="complete")
            self._keep_best(number, before)
            say(f"{name}: {self.search.watched} {loss_text(value)} in {took}; {self._count(left)}")
        elif stopped:
            say(f"{name}: interrupted")
        else:
            self._fail(ended.trial, last_error(self.tuning.log(name), ended.logged))

    def _fail(self, trial: Any, reason: str) -> None:
        trial.set_user_attr(REASON, reason)
        self.study.tell(trial, None, state="fail")
        name = self.tuning.name(trial.number)
        say(f"{name}: failed: {reason} (log: {self.tuning.log(name)})")

    def best(self) -> int | None:
        """Return the number of the best trial so far, the first of equals; None where none is complete."""
        complete = [each for each in self.study.trials() if each.state.name == "COMPLETE"]
        return min(complete, key=lambda each: (each.value, each.number)).number if complete else None

    def _keep_best(self, number: int, before: int | None) -> None:
        """Remove the weights of a trial that has ended, or of the best before it if that is now worse."""
        if self.best() != number:
            drop_weights(Run(self.tuning.run(number)))
        elif before is not None:
            drop_weights(Run(self.tuning.run(before)))

    def _count(self, left: float) -> str:
        best = self.best()
        value = (
            "" if best is None else f", best {loss_text(self.study.trials()[best].value)} of {self.tuning.name(best)}"
        )
        return f"{self.study.ended()} ended{value}{f', about {clock(left)} left' if left else ''}"


def drop_weights(run: Run) -> None:
    """Remove the weights of a run; its configuration, history and curves remain."""
    weights = [run.folder / name for name in (FROZEN, *HALVES.values())]
    for path in (run.checkpoints, run.assets, *weights):
        if path.exists():
            remove(path)
