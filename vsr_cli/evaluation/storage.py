"""Storing an evaluation, merged with a stored one of the same weights; docs/reference/evaluation.md lists the files."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..console import say
from ..data.shards import save_shard
from ..errors import VsrError
from ..files.atomic import replacing_folder, write_json
from ..files.checksums import write_checksums
from ..files.strict_json import to_json, undefined_as_null
from ..runs.results import (
    LEAKS,
    PICTURES,
    PREDICTIONS,
    RESULT,
    STATISTICS,
    STORYBOARDS,
    Evaluated,
    read_stored,
)
from .evaluate import Evaluation

OF_THE_RESULT = ("report.html", "report.md")
"""What other commands write beside a result; outdated when the result changes."""
MOST_IMAGES = 600
LARGEST = 224
"""Pixels per side of a stored image."""


def store_evaluation(
    folder: Path, evaluation: Evaluation, result: Mapping[str, Any], *, draw: Callable[[Path], None] | None = None
) -> dict[str, Any]:
    """Write all files of an evaluation, and return the result as it is stored.

    Metrics that were stored for the same weights, data and decoding stay beside the new ones; anything else that was
    stored is replaced as a whole. However the process ends, the folder is as before or as after. `draw` writes the
    storyboards to a path. The caller holds the lock of `lock_evaluation`.
    """
    earlier = _earlier(folder, evaluation, result)
    merged: dict[str, Any] = undefined_as_null(result)
    lines: Iterable[dict[str, Any]] = map(undefined_as_null, evaluation.predictions)
    tensors = _tensors(evaluation)
    if earlier:
        merged, lines, tensors = _merged(earlier, merged, lines, tensors)
    with replacing_folder(folder) as new:
        (new / PICTURES).mkdir()
        for row in stored_images(len(evaluation.images)).tolist():
            image = Image.fromarray(evaluation.images.gather(np.array([row]))[0])
            image.thumbnail((LARGEST, LARGEST))
            image.save(new / PICTURES / image_name(row), quality=85)
        _write_lines(new / PREDICTIONS, lines)
        _write_lines(new / LEAKS, (leak.record() for leak in evaluation.leaks))
        save_shard(new / STATISTICS, tensors)
        if draw:
            draw(new / STORYBOARDS)
        write_json(new / RESULT, merged)
        write_checksums(new, (str(path.relative_to(new)) for path in new.rglob("*") if path.is_file()))
        _copy_other_files(folder, new)
    return merged


def stored_images(windows: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the windows whose predicted image is stored: all, or 600 evenly spaced ones."""
    return np.linspace(0, windows - 1, min(windows, MOST_IMAGES)).round().astype(np.int64)


def image_name(row: int) -> str:
    """Return the file name of the image of a line of predictions.jsonl, counted from 0."""
    return f"{row:04d}.jpg"


def _earlier(folder: Path, evaluation: Evaluation, result: Mapping[str, Any]) -> Evaluated | None:
    """Return the stored evaluation to merge with; where it is replaced instead, log why."""
    try:
        stored = read_stored(folder.parents[1], folder)
        if stored is None:
            return None
        changed = _changes(stored, evaluation, result)
    except VsrError as error:
        say(f"replacing the stored evaluation, which cannot be read: {error}")
        return None
    if changed:
        say(f"replacing the stored evaluation in {folder}: its {', '.join(changed)} {_other(changed)}")
        return None
    return stored


def _changes(stored: Evaluated, evaluation: Evaluation, result: Mapping[str, Any]) -> list[str]:
    """Return what differs from a stored evaluation; statistics can be merged only if nothing does."""
    before, now = stored.facts, dict(part.partition(":")[::2] for part in str(result["signature"]).split("|"))
    changed = [name for name in dict.fromkeys((*before, *now)) if before.get(name) != now.get(name)]
    if not changed:
        changed += [name for name in ("checkpoint", "leaks") if stored.result[name] != result[name]]
    if not changed:
        lines, lines_now = stored.predictions(), evaluation.predictions
        if len(lines) != len(lines_now) or any(map(_predicts_otherwise, lines, lines_now)):
            changed.append("predictions")  # of another device, whose rounding differs
    return changed


def _other(changed: Sequence[str]) -> str:
    return "differs" if len(changed) == 1 else "differ"


def _predicts_otherwise(line: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return {**line, "scores": None} != {**other, "scores": None}


def _merged(
    stored: Evaluated, result: dict[str, Any], lines: Iterable[dict[str, Any]], tensors: dict[str, NDArray[Any]]
) -> tuple[dict[str, Any], Iterable[dict[str, Any]], dict[str, NDArray[Any]]]:
    """Merge the stored results of other metrics; the stored result of a metric that cannot run now stays."""
    before, now = stored.result["metrics"], result["metrics"]
    lasting = [name for name in stored.available if "unavailable" in now.get(name, {"unavailable": None})]
    lacking = [name for name in before if name not in stored.available and name not in now]
    stays = {name: before[name] for name in (*lasting, *lacking)}
    cells = {name: stays.get(name) or now[name] for name in dict.fromkeys((*before, *now))}
    if lasting:
        say(f"keeping the stored scores of {', '.join(lasting)}")
    measured = {key: rows for key, rows in stored.statistics().items() if key.rpartition("/")[0] in lasting}
    earlier_lines = stored.predictions()  # opened here, as its folder is renamed before its lines are read

    def joined() -> Iterator[dict[str, Any]]:
        for line, earlier in zip(lines, earlier_lines, strict=True):
            scores = {name: value for name, value in earlier["scores"].items() if name in lasting}
            yield {**line, "scores": {**scores, **line["scores"]}}

    return {**result, "metrics": cells}, joined(), {**measured, **tensors}


def _tensors(evaluation: Evaluation) -> dict[str, NDArray[Any]]:
    return {f"{name}/{each}": rows for name, of in evaluation.statistics.items() for each, rows in of.items()}


def _copy_other_files(folder: Path, new: Path) -> None:
    """Copy files that are not part of an evaluation."""
    ours = {entry.name for entry in new.iterdir()} | {STORYBOARDS, *OF_THE_RESULT}
    for entry in folder.iterdir() if folder.is_dir() else ():
        if entry.name in ours or entry.name.startswith("."):
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.copytree(entry, new / entry.name, symlinks=True)
        else:
            shutil.copy2(entry, new / entry.name, follow_symlinks=False)


def _write_lines(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as lines:
        for record in records:
            lines.write(to_json(record) + "\n")
