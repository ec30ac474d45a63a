"""The training history of a run, history.jsonl: one line per epoch with its losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import VsrError
from ..files.links import refuse_special_file
from ..files.strict_json import from_json, unsealed


@dataclass(frozen=True, kw_only=True)
class EpochRow:
    """One epoch, as it is written to history.jsonl."""

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


Row = Mapping[str, Any]
"""One epoch, as it is read from history.jsonl: the fields of `EpochRow` by name."""
FIELDS: dict[str, Callable[[Any], Any]] = {
    "epoch": int,
    "steps": int,
    "train": dict,
    "validation": dict,
    "learning_rate": float,
    "windows_per_second": float,
    "seconds": float,
}
"""The fields that are read; other keys are ignored."""


def read_history(path: Path, *, epochs: int = 0) -> list[dict[str, Any]]:
    """Read the epochs of a run; an empty list where there is no file.

    `epochs` is how many there must be at least, as run.json records it. An incomplete last line is ignored: a run that
    was killed may have been writing it. Raises VsrError if a line is damaged or missing.
    """
    refuse_special_file(path)
    rows: list[dict[str, Any]] = []
    try:
        *lines, _ = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        lines = []
    for number, line in enumerate(lines, start=1):
        try:
            row = unsealed(from_json(line))
            rows.append({name: kind(row[name]) for name, kind in FIELDS.items()})
        except (ValueError, KeyError, TypeError) as error:
            raise VsrError(
                f"{path}, line {number}: not an epoch of a run, or damaged ({error}); restore the file from a copy"
            ) from error
        if rows[-1]["epoch"] != number:
            raise VsrError(f"{path}, line {number}: epoch {number} is missing; restore the file from a copy")
    if len(rows) < epochs:
        raise VsrError(f"{path}: holds {len(rows)} of the {epochs} epochs; restore the file from a copy")
    return rows


def best_row(rows: Sequence[Row], watched: str) -> Row | None:
    """Return the epoch with the lowest `watched` validation loss, the first of equals; None where none has it."""
    validated = [row for row in rows if watched in row["validation"]]
    return min(validated, key=lambda row: float(row["validation"][watched]), default=None)


def watched_loss(config: Mapping[str, Any]) -> str:
    """Return the name of the validation loss that decides which epoch of a run is the best."""
    return str(config.get("training", {}).get("best_metric", "loss"))


def losses_of(rows: Sequence[Row]) -> list[str]:
    """Return the names of the losses of some epochs, the weighted sum first."""
    names = dict.fromkeys(name for row in rows for name in row["train"])
    return sorted(names, key=lambda name: name != "loss")
