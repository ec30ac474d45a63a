"""The result of a search: its trials, the best first, and how much each setting matters."""

from __future__ import annotations

from typing import Any

from ..errors import VsrError
from ..files.atomic import read_json
from ..runs.history import read_history
from ..runs.run import Run
from .folder import WHAT, Search, Tuning
from .search import REASON
from .study import Study

TO_RANK_SETTINGS = 10
"""Finished trials from which on the importance of settings is more than chance."""
ORDER = ("COMPLETE", "PRUNED", "RUNNING", "WAITING", "FAIL")
WORDS = {
    "COMPLETE": "finished",
    "PRUNED": "stopped",
    "RUNNING": "interrupted",
    "WAITING": "interrupted",
    "FAIL": "failed",
}


def results(study: Study, tuning: Tuning, search: Search) -> dict[str, Any]:
    """Return the result, as written to result.json."""
    ranked = sorted(study.trials(), key=_rank)
    trials = [_trial(tuning, search, each) for each in ranked]
    finished = [each for each in trials if each["state"] == WORDS["COMPLETE"]]
    return {
        "folder": str(tuning.folder),
        "split": "validation",
        "minimized": search.watched,
        "data": search.fingerprint,
        "best": finished[0]["number"] if finished else None,
        "trials": trials,
        "importance": dict(study.importances()) if len(finished) >= TO_RANK_SETTINGS else {},
    }


def best_settings(tuning: Tuning, number: int) -> dict[str, Any]:
    """Return the configuration of a trial, in the form that --config takes."""
    record = read_json(tuning.settings(tuning.name(number)), what=WHAT)
    settings: dict[str, Any] = record["settings"]
    return settings


def _trial(tuning: Tuning, search: Search, trial: Any) -> dict[str, Any]:
    run = Run(tuning.run(trial.number))
    try:
        rows = read_history(run.history)
    except VsrError:
        rows = []  # damaged: the study has the values
    texts = {
        each.setting: each.text(trial.params[each.setting]) for each in search.space if each.setting in trial.params
    }
    return {
        "number": trial.number,
        "state": WORDS[trial.state.name],
        "value": _value(trial),
        "epochs": len(rows),
        "seconds": sum(row["seconds"] for row in rows),
        "settings": texts,
        "run": str(run.folder) if run.folder.is_dir() else None,
        "reason": trial.user_attrs.get(REASON),
    }


def _rank(trial: Any) -> tuple[int, float, int]:
    value = _value(trial)
    return ORDER.index(trial.state.name), float("inf") if value is None else value, trial.number


def _value(trial: Any) -> float | None:
    """Return the value of a trial; of one that did not finish, that of its last epoch."""
    if trial.state.name == "COMPLETE":
        return float(trial.value)
    return float(trial.intermediate_values[max(trial.intermediate_values)]) if trial.intermediate_values else None
