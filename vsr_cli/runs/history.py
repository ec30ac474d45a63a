"""The training history of a run, history.jsonl: one line per epoch with its losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import VsrError
from ..files.checksums import content_checksum
from ..files.links import read_regular
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
    rows: list[dict[str, Any]] = []
    try:
        *lines, _ = read_regular(path).split(b"\n")
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


@dataclass(frozen=True, kw_only=True)
class HistorySummary:
    """What a list of runs shows of a history."""

    watched: str
    """The validation loss that decides which epoch is the best."""
    epochs: int
    best_epoch: int | None
    best_validation: float | None
    seconds: float
    """The duration of all epochs."""


def summarise_history(rows: Sequence[Row], watched: str) -> HistorySummary:
    """Summarise the epochs of a run, the best one by the validation loss `watched`."""
    best = best_row(rows, watched)
    return HistorySummary(
        watched=watched,
        epochs=rows[-1]["epoch"] if rows else 0,
        best_epoch=best["epoch"] if best else None,
        best_validation=best["validation"][watched] if best else None,
        seconds=sum(row["seconds"] for row in rows),
    )


def summary_record(path: Path, watched: str) -> dict[str, Any]:
    """Return the summary of a history for run.json, with the checksum of the file that it summarises."""
    return {**asdict(summarise_history(read_history(path), watched)), "checksum": content_checksum(read_regular(path))}


def recorded_summary(path: Path, record: Any, watched: str) -> HistorySummary | None:
    """Return the summary in a record of `summary_record`; None if it is not that of this very file, or there is none.

    The file is hashed but not parsed, so that listing thousands of finished runs is fast and never stale.
    """
    if not isinstance(record, dict) or record.get("watched") != watched:
        return None
    try:
        if content_checksum(read_regular(path)) != record["checksum"]:
            return None
        return HistorySummary(**{name: value for name, value in record.items() if name != "checksum"})
    except (OSError, KeyError, TypeError):
        return None  # whoever parses the file reports what is wrong with it
