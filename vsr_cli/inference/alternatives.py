"""Several predictions of one story, of different random seeds, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ..api import Decoding
from ..files.atomic import write_json
from ..report.storyboard import draw_storyboard, in_rows, predicted_panel, save_image
from ..runs.predictions import RECORD, STORYBOARD
from .predict import NextFrame, context_panels, copied_from, record_of, shown_image

COLUMNS = 4
"""Panels of a row of the storyboard, or as many as the context has."""


def write_alternatives(
    alternatives: Sequence[NextFrame], folder: Path, *, run: Path, decodings: Sequence[Decoding]
) -> dict[str, Any]:
    """Write image-1.png and so on, storyboard.png and prediction.json, and return the content of the last.

    The record is that of the first prediction, with the text, image and seed of each in "alternatives".
    """
    first = alternatives[0]
    (folder / RECORD).unlink(missing_ok=True)  # written last: it marks the images as complete
    images = [folder / f"image-{number}.png" for number in range(1, len(alternatives) + 1)]
    for path in set(folder.glob("image-*.png")) - set(images):  # there were more before
        path.unlink()
    for each, path in zip(alternatives, images, strict=True):
        save_image(shown_image(each), path)
    save_image(alternatives_storyboard(alternatives), folder / STORYBOARD)
    record = {
        **record_of(first, images[0], run=run, decoding=decodings[0]),
        "alternatives": [
            {"seed": decoding.seed, "text": each.text, "copied": copied_from(each), "image": str(path)}
            for each, path, decoding in zip(alternatives, images, decodings, strict=True)
        ],
        "storyboard": str(folder / STORYBOARD),
    }
    write_json(folder / RECORD, record)
    return record


def alternatives_storyboard(alternatives: Sequence[NextFrame]) -> Image.Image:
    """Return an image of the context, and of the predictions below it."""
    context = context_panels(alternatives[0])
    panels = [
        predicted_panel(shown_image(each), each.text, number=number)
        for number, each in enumerate(alternatives, start=1)
    ]
    columns = max(COLUMNS, len(context))
    return draw_storyboard([context, *in_rows(panels, columns)])
