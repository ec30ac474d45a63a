"""The predictions for a user's stories in a run folder.

predictions/STORY/                       the one prediction: image.png, storyboard.png, prediction.json
predictions/STORY/alternatives-DECODING/ several of different random seeds: image-1.png and so on, and the same files
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..files.atomic import read_json

PREDICTIONS, RECORD, STORYBOARD = "predictions", "prediction.json", "storyboard.png"
ALTERNATIVES = "alternatives-"


def stored_alternatives(run: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Return the folder and the record of all alternatives in a run folder, by name.

    Raises VsrError if a record is damaged.
    """
    paths = sorted((run / PREDICTIONS).glob(f"*/{ALTERNATIVES}*/{RECORD}"))
    return [(path.parent, read_json(path, what="a prediction")) for path in paths]
