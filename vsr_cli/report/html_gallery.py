"""The storyboards of the HTML page, as its script reads them: thumbnails, and texts with their differences."""

from __future__ import annotations

import base64
import io
import math
import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..data.images import unfit_image
from ..data.prepared import Prepared
from ..data.prepared_types import Windows
from ..errors import VsrError
from ..evaluation.normalize import without_tags
from ..progress import progress
from ..runs.results import Evaluated

THUMBNAIL = 192
"""The longer side of an image in pixels: as wide as the page shows it, and about 4 kB."""
QUALITY = 50
"""Of WebP."""
MOST_WORDS = 4000
"""How many words of each text are compared; later ones count as its own."""
PUNCTUATION = string.punctuation + "‘’“”–—…"


def gallery(evaluated: Evaluated, prepared: Prepared, *, most: int) -> dict[str, Any]:
    """Return at most `most` storyboards of an evaluation, evenly chosen, for JSON.

    {"metrics": {name: better}, "images": [base64 of a WebP], "windows": [{story, start, context: [[image, text]],
    truth: [image, stretches], predicted: ..., copied: ..., scores}]}; an image is an index into "images" or None, and
    stretches are those of `shared_and_own`: the truth's against the prediction, the others' against the truth. Raises
    VsrError if the data is not what was scored.
    """
    predictions = evaluated.predictions()
    windows = _scored(evaluated, prepared, predictions)
    chosen = _chosen(evaluated, len(predictions), most)
    images = _Images(prepared)
    boards = []
    with progress() as bar:
        for number in bar.track(chosen, description="preparing storyboards"):
            boards.append(_board(evaluated, number, predictions[number], windows, images))
    directions = {name: cell["better"] for name, cell in evaluated.available.items()}
    scored = {name for board in boards for name in board["scores"]}
    return {
        "metrics": {name: better for name, better in directions.items() if name in scored},
        "images": images.encoded,
        "windows": boards,
    }


def side_by_side(evaluations: Sequence[Evaluated], prepared: Prepared, *, most: int) -> dict[str, Any]:
    """Return at most `most` windows, evenly chosen, with the predictions of several evaluations of the same windows.

    {"images": [...], "windows": [{story, start, context: [[image, text]], truth: [image, text], predicted: [[image,
    stretches]]}]}, as those of `gallery`; `predicted` has an entry for each evaluation. Raises VsrError as it does.
    """
    predictions = [each.predictions() for each in evaluations]
    windows = _scored(evaluations[0], prepared, predictions[0])
    images = _Images(prepared)
    boards = []
    with progress() as bar:
        for number in bar.track(_chosen(evaluations[0], len(windows), most), description="preparing storyboards"):
            texts = [without_tags(prepared.frames.texts[row]).strip() for row in windows.text_rows[number].tolist()]
            rows = windows.image_rows[number].tolist()
            frames = [[images.stored(row), text] for row, text in zip(rows, texts, strict=True)]
            predicted = [
                [
                    images.predicted(each.predicted_image(number), like=rows[-2]),
                    shared_and_own(of[number].get("text", of[number]["prediction"]), texts[-1]),
                ]
                for each, of in zip(evaluations, predictions, strict=True)
            ]
            about = {key: predictions[0][number][key] for key in ("story", "start")}
            boards.append({**about, "context": frames[:-1], "truth": frames[-1], "predicted": predicted})
    return {"images": images.encoded, "windows": boards}


def _chosen(evaluated: Evaluated, count: int, most: int) -> list[int]:
    """Choose windows evenly, among those whose predicted image is stored if there are any."""
    stored = [number for number in range(count) if evaluated.predicted_image(number)] or list(range(count))
    return [stored[at] for at in np.linspace(0, len(stored) - 1, min(most, len(stored))).round().astype(int)]


def _scored(evaluated: Evaluated, prepared: Prepared, predictions: Sequence[Mapping[str, Any]]) -> Windows:
    """Return the windows of some predictions, in their order."""
    if evaluated.facts.get("data") != prepared.fingerprint[: len(evaluated.facts.get("data", "-"))]:
        raise VsrError(f"{prepared.folder}: is not the data that was scored; name the right one with --data DIR")
    windows = prepared.windows(evaluated.split)
    rows = {
        (story, int(start)): row for row, (story, start) in enumerate(zip(windows.stories, windows.starts, strict=True))
    }
    try:
        return windows.take(np.asarray([rows[item["story"], item["start"]] for item in predictions], dtype=np.int64))
    except KeyError as error:
        raise VsrError(f"{evaluated.folder}: has windows that the data lacks; {evaluated.remedy}") from error


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _board(
    evaluated: Evaluated, number: int, prediction: Mapping[str, Any], windows: Windows, images: _Images
) -> dict[str, Any]:
    texts = [without_tags(images.prepared.frames.texts[row]).strip() for row in windows.text_rows[number].tolist()]
    shown = [images.stored(row) for row in windows.image_rows[number].tolist()]
    predicted, truth = prediction.get("text", prediction["prediction"]), texts[-1]
    return {
        "story": prediction["story"],
        "start": prediction["start"],
        "context": [[shown[k], texts[k]] for k in range(len(shown) - 1)],
        "truth": [shown[-1], shared_and_own(truth, predicted)],
        "predicted": [
            # In the proportions of the last image of the context.
            images.predicted(evaluated.predicted_image(number), like=int(windows.image_rows[number, -2])),
            shared_and_own(predicted, truth),
        ],
        "copied": [shown[-2], shared_and_own(texts[-2], truth)],
        "scores": {name: round(value, 4) for name, value in prediction["scores"].items() if _is_number(value)},
    }


class _Images:
    """The images of the page, each distinct one once."""

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        self.encoded: list[str] = []
        self._index: dict[int, int] = {}

    def stored(self, row: int) -> int:
        """Return the index of an image of the data."""
        if row not in self._index:
            pixels = self.prepared.frames.images.gather(np.asarray([row], dtype=np.int64))[0]
            self._index[row] = self._add(pixels, row)
        return self._index[row]

    def predicted(self, path: Path | None, *, like: int) -> int | None:
        """Return the index of a predicted image, shown in the proportions of an image of the data."""
        if path is None:
            return None
        with Image.open(path, formats=["JPEG"]) as image:
            return self._add(np.asarray(image.convert("RGB")), like)

    def _add(self, pixels: NDArray[np.uint8], row: int) -> int:
        facts = self.prepared.image_facts
        width, height = int(facts.width[row]), int(facts.height[row])
        image = unfit_image(Image.fromarray(pixels), width=width, height=height, resize=self.prepared.resize)
        image.thumbnail((THUMBNAIL, THUMBNAIL))
        file = io.BytesIO()
        image.save(file, "WEBP", quality=QUALITY)
        self.encoded.append(base64.b64encode(file.getvalue()).decode())
        return len(self.encoded) - 1


def shared_and_own(text: str, other: str) -> list[str]:
    """Split a text into alternating stretches, shared with `other` and not shared, the first one shared.

    Joined with spaces (empty stretches left out), they are the text again, with single spaces. Case, and punctuation
    at the ends of a word, are ignored.
    """
    words, others = text.split(), other.split()
    shared = _longest_common(_bare(words[:MOST_WORDS]), _bare(others[:MOST_WORDS]))
    stretches: list[list[str]] = [[]]
    for index, word in enumerate(words):
        if (index in shared) != (len(stretches) % 2 == 1):
            stretches.append([])
        stretches[-1].append(word)
    return [" ".join(stretch) for stretch in stretches]


def _bare(words: Sequence[str]) -> list[str]:
    return [word.strip(PUNCTUATION).casefold() or word for word in words]


def _longest_common(words: Sequence[str], others: Sequence[str]) -> set[int]:
    """Return the indices of the words in a longest common subsequence.

    Hyyrö, "Bit-parallel LCS-length computation revisited" (2004): a row of the table of lengths is one integer, whose
    bits are 0 where the length grows. So texts that repeat one word take little time, too.
    """
    positions: dict[str, int] = {}
    for at, word in enumerate(others):
        positions[word] = positions.get(word, 0) | 1 << at
    whole = (1 << len(others)) - 1
    rows = [whole]
    for word in words:
        matches = rows[-1] & positions.get(word, 0)
        rows.append((rows[-1] + matches | rows[-1] - matches) & whole)
    shared: set[int] = set()
    row, column = len(words), len(others)
    while row and column:
        if rows[row] >> column - 1 & 1:
            column -= 1
        elif rows[row - 1] >> column - 1 & 1:
            row, column = row - 1, column - 1
            shared.add(row)
        else:
            row -= 1
    return shared
