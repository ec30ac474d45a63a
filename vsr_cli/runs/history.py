"""What history.jsonl tells of a run: reading it, and the table of its epochs, while it grows and afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import RenderableType

from ..errors import VsrError
from ..files.strict_json import from_json, unsealed
from ..report.tables import Column, fitting_table

Row = Mapping[str, Any]
"""One epoch, as history.jsonl has it."""
FIELDS: dict[str, Callable[[Any], Any]] = {
    "epoch": int,
    "steps": int,
    "train": dict,
    "validation": dict,
    "learning_rate": float,
    "windows_per_second": float,
    "seconds": float,
}
"""What is read of an epoch; other keys are somebody else's."""

SHOWN = 24
"""How many epochs a table shows before it leaves some out in the middle."""
BEST = " *"
NOT_BEST = "  "


def read_history(path: Path, *, epochs: int = 0) -> list[dict[str, Any]]:
    """Read a run's epochs, of which there are at least so many, as run.json has it; none where there is no file.

    A last line without its end is left out: a run that was killed may have been writing it.
    Raises VsrError if a line is not what was written, or one is missing.
    """
    rows: list[dict[str, Any]] = []
    *lines, _ = path.read_bytes().split(b"\n") if path.exists() else [b""]
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
    """Return epoch at which the watched validation loss was lowest, the first of equals; None where it never was."""
    held = [row for row in rows if watched in row["validation"]]
    return min(held, key=lambda row: float(row["validation"][watched]), default=None)


def watched_loss(config: Mapping[str, Any]) -> str:
    """Name the validation loss that decides which epoch of a run is the best."""
    return str(config.get("training", {}).get("best_metric", "loss"))


def losses_of(rows: Sequence[Row]) -> list[str]:
    """Name the losses of some epochs, the weighted sum first."""
    names = dict.fromkeys(name for row in rows for name in row["train"])
    return sorted(names, key=lambda name: name != "loss")


def epoch_table(
    rows: Sequence[Row],
    *,
    epochs: int,
    best: Row | None,
    width: int,
    running: Row | None = None,
    most: int = SHOWN,
) -> RenderableType:
    """Show at most so many epochs as a table, the best one marked, and below them the one that is running."""
    shown = _shortened(rows, best, most)
    styles = ["bold" if row and row is best else "" for row in shown]
    if running:
        shown, styles = [*shown, running], [*styles, "dim"]
    every = [row for row in shown if row]
    columns = [Column("epoch", [f"{row['epoch']}/{epochs}" if row else "…" for row in shown])]
    for name in losses_of(every):
        columns.append(Column(name, [number(row["train"].get(name)) if row else "" for row in shown], rank=2))
    columns[1:2] = [replace(column, rank=0) for column in columns[1:2]]
    if any(row["validation"] for row in every):
        held = Column("validation", [_held(row, best=row is best) if row else "" for row in shown])
        columns.insert(2, held)
    rates = [row and row["learning_rate"] for row in shown]
    columns.append(Column("rate", ["" if rate is None else f"{rate:.1e}" for rate in rates], rank=3))
    columns.append(Column("windows/s", [f"{row['windows_per_second']:.1f}" if row else "" for row in shown], rank=4))
    return fitting_table(columns, width=width, styles=styles)


def number(value: float | None) -> str:
    """Show a loss; a large one without the digits that it does not need."""
    return "" if value is None else f"{value:.4f}" if abs(value) < 1000 else f"{value:.4g}"


def clock(seconds: float) -> str:
    """Show a time as hours, minutes and seconds, less the hours where there are none."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _held(row: Row, *, best: bool) -> str:
    return number(row["validation"]["loss"]) + (BEST if best else NOT_BEST) if row["validation"] else ""


def _shortened(rows: Sequence[Row], best: Row | None, most: int) -> list[Row | None]:
    """Leave out epochs in the middle, but never the best; None stands for those that are left out."""
    if len(rows) <= most:
        return list(rows)
    head = min(3, most // 4)
    tail = max(1, most - head - 3)  # three lines are for the best and for what is left out on either side of it
    kept = [number for number, row in enumerate(rows) if number < head or number >= len(rows) - tail or row is best]
    shown: list[Row | None] = []
    for before, position in zip([-1, *kept], kept, strict=False):
        shown += [None] if position > before + 1 else []
        shown.append(rows[position])
    return shown
