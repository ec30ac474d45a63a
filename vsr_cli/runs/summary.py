"""Summaries of runs, read from their files alone, without pydantic, so that a list of many is fast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import VsrError
from ..files.atomic import read_json
from ..files.locks import is_held
from ..plugin.kinds import MODEL_COMPONENTS
from .history import read_history, recorded_summary, summarise_history, watched_loss
from .results import EVALUATIONS, all_stored
from .run import FOLDS, Run

UNREADABLE = "unreadable"
KILLED = "killed"
GONE = "no process is training it any more: it was killed, or the machine shut down"


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """The state of one run."""

    folder: Path
    status: str
    """As in run.json, or "unreadable", or "killed": run.json says "running", but no process is training it."""
    started: str = ""
    """An ISO time with its offset."""
    ended: str | None = None
    data: str = ""
    """The prepared folder that it was trained on."""
    parts: Mapping[str, str]
    """The component of each part of the model."""
    epochs_done: int = 0
    epochs_wanted: int = 0
    best_epoch: int | None = None
    best_validation: float | None = None
    """The lowest value of the watched validation loss."""
    seconds: float = 0.0
    """The duration of its epochs."""
    problem: str | None = None
    """Why the training did not finish, or why the run cannot be read."""

    @property
    def is_readable(self) -> bool:
        """Whether its files could be read."""
        return self.status != UNREADABLE

    def record(self) -> dict[str, Any]:
        """Return the summary for JSON."""
        return {**vars(self), "folder": str(self.folder), "parts": dict(self.parts)}


def is_run(folder: Path) -> bool:
    """Whether a folder is a run, whole or damaged, rather than something else."""
    return not folder.name.startswith(".") and any((folder / name).is_file() for name in ("run.json", "config.json"))


def summaries(folder: Path) -> list[RunSummary]:
    """Summarise the runs in a folder, the newest first, unreadable ones last; other entries are skipped."""
    paths = sorted(folder.iterdir(), key=lambda path: path.name) if folder.is_dir() else []
    found = [summarise(path) for path in paths if is_run(path)]
    return sorted(found, key=lambda run: (run.is_readable, run.started), reverse=True)


def summarise(folder: Path) -> RunSummary:
    """Summarise one run, or the runs of all folds; if it cannot be read, `problem` says why."""
    if (folder / FOLDS).is_file():
        return _summarise_folds(folder)
    run = Run(folder)
    try:
        facts, config = run.facts(), run.config()
        watched = watched_loss(config)
        history = recorded_summary(run.history, facts.get("history"), watched) or summarise_history(
            read_history(run.history, epochs=int(facts.get("epochs_trained", 0))), watched
        )
        killed = facts["status"] == "running" and not is_held(folder)
        problem = facts.get("problem")
        return RunSummary(
            folder=folder,
            status=KILLED if killed else str(facts["status"]),
            started=str(facts["started"]),
            ended=facts.get("ended"),
            data=str(facts["data"]),
            parts={part: str(config[part]["name"]) for part in MODEL_COMPONENTS},
            epochs_done=history.epochs,
            epochs_wanted=int(config["training"]["epochs"]),
            best_epoch=history.best_epoch,
            best_validation=history.best_validation,
            seconds=history.seconds,
            problem=GONE if killed else None if problem is None else str(problem),
        )
    except VsrError as error:
        problem = str(error)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        problem = f"{folder}: its config.json or run.json lacks something that a run has ({error})"
    return RunSummary(folder=folder, status=UNREADABLE, parts={}, problem=problem)


def _summarise_folds(folder: Path) -> RunSummary:
    """Summarise a cross-validation as one run, whose epochs are those of all folds."""
    try:
        facts, config = read_json(folder / FOLDS, what="folds"), read_json(folder / "config.json", what="folds")
        runs = [summarise(path) for path in sorted(folder.glob("fold-*")) if is_run(path)]
        trained, count = sum(run.status == "finished" for run in runs), int(facts["folds"])
        status = "finished" if trained == count else "running" if is_held(folder) else "interrupted"
        same = f"the same 'vsr evaluate --folds {count}' command"
        how = f"{trained} of {count} folds are trained; repeat {same} to continue"
        return RunSummary(
            folder=folder,
            status=status,
            started=str(facts["started"]),
            ended=max((run.ended or "" for run in runs), default="") if status == "finished" else None,
            data=str(facts["source"]),
            parts={part: str(config[part]["name"]) for part in MODEL_COMPONENTS},
            epochs_done=sum(run.epochs_done for run in runs),
            epochs_wanted=count * int(config["training"]["epochs"]),
            seconds=sum(run.seconds for run in runs),
            problem=how if status == "interrupted" else None,
        )
    except VsrError as error:
        problem = str(error)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        problem = f"{folder}: its {FOLDS} or config.json lacks something that folds have ({error})"
    return RunSummary(folder=folder, status=UNREADABLE, parts={}, problem=problem)


def differing_parts(runs: Sequence[RunSummary]) -> list[str]:
    """Return the parts in which some runs differ, and always the temporal model."""
    whole = [run.parts for run in runs if run.parts]
    return [part for part in MODEL_COMPONENTS if part == "temporal" or len({parts[part] for parts in whole}) > 1]


def evaluations(run: Run) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the results of a run's evaluations, and the problems of those that are stale or cannot be read.

    A stale one has no scores, since they belong to other weights.
    """
    results, problems = [], []
    for found in all_stored(run.folder):
        try:
            if isinstance(found, VsrError):
                raise found
            stale, other = found.stale, found.other_data
            counts = {key: found.result[key] for key in ("split", "stories", "windows", "checkpoint", "cautions")}
            scores = {} if stale else {name: _headline(cell) for name, cell in found.available.items()}
            about = {"folder": str(found.run / EVALUATIONS / found.label), "stale": stale, "other_data": other}
            results.append({**about, **counts, "scores": scores})
            problems += [each for each in (stale, None if found.is_named_other else other) if each]
        except VsrError as error:
            problems.append(str(error))
        except (KeyError, TypeError, AttributeError) as error:
            problems.append(f"{run.folder}: an evaluation's result lacks something ({error}); evaluate again")
    return results, problems


def _headline(score: Mapping[str, Any]) -> dict[str, Any]:
    baseline = score["baselines"]["copy-last"]
    return {
        "value": score["value"],
        "copy-last": baseline["value"],
        "verdict": baseline["verdict"],
        "scale": score["scale"],
    }
