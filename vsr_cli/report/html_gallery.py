"""The storyboards of a page: small pictures, and texts with their differences, as the page's script reads them."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..config.schema import CONTEXT_FRAMES
from ..console import progress
from ..data.images import unfit_image
from ..data.prepared import Prepared, Windows
from ..errors import VsrError
from ..evaluation.normalize import clean_text
from ..runs.results import Evaluated
from .differences import shared_and_own

THUMBNAIL = 192
"""The longer side of a picture in pixels: as wide as a page shows them, and some 4 kB."""
QUALITY = 50
"""Of WebP."""


def gallery(evaluated: Evaluated, prepared: Prepared, *, most: int) -> dict[str, Any]:
    """Return the storyboards of an evaluation as JSON has them, at most `most`, evenly chosen.

    {"metrics": {name: better}, "images": [base64 of a WebP], "windows": [{story, start, context: [[image, text]],
    truth: [image, stretches], predicted: ..., copied: ..., scores}]}; an image is a number in "images" or None, and
    stretches are those of `shared_and_own`: the truth's beside the prediction, the others' beside the truth. Raises
    VsrError if the data is not what was scored.
    """
    predictions = evaluated.predictions()
    windows = _scored(evaluated, prepared, predictions)
    chosen = _chosen(evaluated, len(predictions), most)
    pictures = _Pictures(prepared)
    boards = []
    with progress() as bar:
        for number in bar.track(chosen, description="drawing storyboards"):
            boards.append(_board(evaluated, number, predictions[number], windows, pictures))
    directions = {name: cell["better"] for name, cell in evaluated.available.items()}
    scored = {name for board in boards for name in board["scores"]}
    return {
        "metrics": {name: better for name, better in directions.items() if name in scored},
        "images": pictures.encoded,
        "windows": boards,
    }


def _chosen(evaluated: Evaluated, count: int, most: int) -> list[int]:
    """Choose windows evenly, of those whose predicted picture was kept where there are such."""
    pictured = [number for number in range(count) if evaluated.picture(number)] or list(range(count))
    return [pictured[at] for at in np.linspace(0, len(pictured) - 1, min(most, len(pictured))).round().astype(int)]


def _scored(evaluated: Evaluated, prepared: Prepared, predictions: Sequence[Mapping[str, Any]]) -> Windows:
    """Find the windows of some predictions in the data, in their order."""
    if evaluated.facts.get("data") != prepared.fingerprint[: len(evaluated.facts.get("data", "-"))]:
        raise VsrError(f"{prepared.folder}: is not the data that was scored; name that with --data DIR")
    windows = prepared.windows(evaluated.split)
    rows = {
        (story, int(start)): row for row, (story, start) in enumerate(zip(windows.stories, windows.starts, strict=True))
    }
    try:
        return windows.take(np.asarray([rows[item["story"], item["start"]] for item in predictions], dtype=np.int64))
    except KeyError as error:
        raise VsrError(f"{evaluated.folder}: has windows that the data has not; {evaluated.remedy}") from error


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _board(
    evaluated: Evaluated, number: int, prediction: Mapping[str, Any], windows: Windows, pictures: _Pictures
) -> dict[str, Any]:
    texts = [clean_text(pictures.prepared.frames.texts[row]) for row in windows.text_rows[number].tolist()]
    shown = [pictures.stored(row) for row in windows.image_rows[number].tolist()]
    last = CONTEXT_FRAMES - 1
    predicted, truth = prediction["prediction"], prediction["reference"]
    return {
        "story": prediction["story"],
        "start": prediction["start"],
        "context": [[shown[k], texts[k]] for k in range(CONTEXT_FRAMES)],
        "truth": [shown[-1], shared_and_own(truth, predicted)],
        "predicted": [
            # In the proportions of the last picture that the model saw.
            pictures.predicted(evaluated.picture(number), like=int(windows.image_rows[number, last])),
            shared_and_own(predicted, truth),
        ],
        "copied": [shown[last], shared_and_own(texts[last], truth)],
        "scores": {name: round(value, 4) for name, value in prediction["scores"].items() if _is_number(value)},
    }


class _Pictures:
    """The pictures of a page, each distinct one once."""

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        self.encoded: list[str] = []
        self._number: dict[int, int] = {}

    def stored(self, row: int) -> int:
        """Return the number of a picture of the data."""
        if row not in self._number:
            pixels = self.prepared.frames.images.gather(np.asarray([row], dtype=np.int64))[0]
            self._number[row] = self._add(pixels, row)
        return self._number[row]

    def predicted(self, path: Path | None, *, like: int) -> int | None:
        """Return the number of a predicted picture, shown in the proportions of a picture of the data."""
        if path is None:
            return None
        with Image.open(path, formats=["JPEG"]) as picture:
            return self._add(np.asarray(picture.convert("RGB")), like)

    def _add(self, pixels: NDArray[np.uint8], row: int) -> int:
        facts = self.prepared.image_facts
        width, height = int(facts.width[row]), int(facts.height[row])
        picture = unfit_image(Image.fromarray(pixels), width=width, height=height, resize=self.prepared.resize)
        picture.thumbnail((THUMBNAIL, THUMBNAIL))
        file = io.BytesIO()
        picture.save(file, "WEBP", quality=QUALITY)
        self.encoded.append(base64.b64encode(file.getvalue()).decode())
        return len(self.encoded) - 1
