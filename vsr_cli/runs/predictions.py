"""The predictions for a user's stories in a run folder.

predictions/STORY/                       with the run's own decoding: image.png, storyboard.png, prediction.json
predictions/STORY/DECODING/              with another one, such as sample-seed3: the same files
predictions/STORY/alternatives-DECODING/ several of different random seeds: image-1.png and so on, and the same files
predictions/STORY/frames-5-7/            the story continued by these frames; with another decoding, its name follows

The name of a prediction from an earlier frame than the last begins with from-FRAME: from-3-sample-seed3.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..api import Decoding
from ..files.atomic import read_json

PREDICTIONS, RECORD, STORYBOARD = "predictions", "prediction.json", "storyboard.png"
ALTERNATIVES = "alternatives-"
NO_WORDS = "(the model generated no words)"
"""Shown in place of an empty text."""


def prediction_folder(
    story: Path, decoding: Decoding, *, own: Decoding, alternatives: int = 1, from_frame: int | None = None
) -> Path:
    """Return where a prediction is stored, given the folder of its story: none replaces one of another decoding.

    `own` is the decoding of the run's configuration.
    """
    words = [f"from-{from_frame}"] if from_frame else []
    words += [decoding.label()] if decoding != own or alternatives > 1 else []
    name = "-".join(words)
    return story / (f"{ALTERNATIVES}{name}" if alternatives > 1 else name)


def continuation_folder(story: Path, decoding: Decoding, *, own: Decoding, first: int, picks: Sequence[int]) -> Path:
    """Return where a continuation is stored, given the folder of its story and the number of its first new frame."""
    words = [f"frames-{first}-{first + len(picks) - 1}"]
    words += [decoding.label()] if decoding != own else []
    words += ["pick-" + "-".join(map(str, picks))] if set(picks) != {1} else []
    return story / "-".join(words)


def stored_alternatives(run: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Return the folder and the record of all alternatives in a run folder, by name.

    Raises VsrError if a record is damaged.
    """
    paths = sorted((run / PREDICTIONS).glob(f"*/{ALTERNATIVES}*/{RECORD}"))
    return [(path.parent, read_json(path, what="a prediction")) for path in paths]
