"""Storing predictions: one writer per folder, and nothing through links."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..api import Decoding
from ..files.links import refuse_links
from ..files.locks import exclusive_lock
from ..runs.predictions import PREDICTIONS, RECORD, STORYBOARD
from ..runs.run import Run
from .alternatives import write_alternatives
from .predict import NextFrame, output_folders, write_prediction

PATIENCE = 30.0
"""Seconds to wait for another process that writes the prediction of the same story."""
WRITTEN = ("image.png", "image-*.png", STORYBOARD, RECORD)


def story_folders(run: Run, out: Path | None, stories: Sequence[str]) -> list[Path]:
    """Return a folder for what is predicted for each story: in `out`, or among the predictions of the run.

    Raises VsrError if one is a link.
    """
    place = out or run.folder / PREDICTIONS
    folders = output_folders(stories, place)
    if out is None:
        refuse_links(run.folder, [PREDICTIONS], below=False)
    refuse_links(place, [folder.name for folder in folders])
    return folders


def store_prediction(
    predicted: Sequence[NextFrame], folder: Path, *, run: Path, decodings: Sequence[Decoding]
) -> dict[str, Any]:
    """Write a prediction, or several alternatives, into a folder, and return the content of prediction.json.

    Raises VsrError if another process writes there, or if a file to write is a link.
    """
    busy = f"{folder}: another process is writing a prediction there; predict again, or name another folder"
    with exclusive_lock(folder, busy=busy, patience=PATIENCE):
        refuse_links(folder, WRITTEN)
        if len(predicted) > 1:
            return write_alternatives(predicted, folder, run=run, decodings=decodings)
        return write_prediction(predicted[0], folder, run=run, decoding=decodings[0])
