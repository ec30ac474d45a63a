"""Keeping an evaluation in the run folder: docs/evaluation.md describes the files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..data.shards import save_shard
from ..files import replacing, replacing_folder, write_json
from ..strict_json import to_json, undefined_as_null
from .evaluate import Evaluation

RESULT, PREDICTIONS, STATISTICS, LEAKS = "result.json", "predictions.jsonl", "statistics.safetensors", "leaks.jsonl"
PICTURES = "predictions"
MOST_PICTURES = 600
LARGEST = 224
"""Pixels a side of a kept picture."""


def keep_evaluation(folder: Path, evaluation: Evaluation, result: Mapping[str, Any]) -> None:
    """Write all files of an evaluation but its storyboards, the result last."""
    with replacing_folder(folder / PICTURES) as pictures:
        for row in pictured(len(evaluation.images)).tolist():
            picture = Image.fromarray(evaluation.images.gather(np.array([row]))[0])
            picture.thumbnail((LARGEST, LARGEST))
            picture.save(pictures / picture_name(row), quality=85)
    _write_lines(folder / PREDICTIONS, evaluation.predictions)
    _write_lines(folder / LEAKS, (leak.record() for leak in evaluation.leaks))
    tensors = {f"{name}/{each}": rows for name, kept in evaluation.statistics.items() for each, rows in kept.items()}
    save_shard(folder / STATISTICS, tensors)
    write_json(folder / RESULT, undefined_as_null(result))


def pictured(windows: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Say of which windows the predicted picture is kept: of all, or of 600 evenly spaced ones."""
    return np.linspace(0, windows - 1, min(windows, MOST_PICTURES)).round().astype(np.int64)


def picture_name(row: int) -> str:
    """Give the file name of the picture of a line of predictions.jsonl, counted from 0."""
    return f"{row:04d}.jpg"


def _write_lines(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as lines:
        for record in records:
            lines.write(to_json(undefined_as_null(record)) + "\n")
