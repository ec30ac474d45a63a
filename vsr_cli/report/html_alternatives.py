"""The alternatives of the HTML page: several predictions of a user's story, side by side."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

from PIL import Image

from ..errors import VsrError, one_line
from ..runs.predictions import ALTERNATIVES, STORYBOARD, stored_alternatives

MOST = 24
"""Storyboards of a page."""
WIDEST = 1300
"""Pixels."""
QUALITY = 70
"""Of WebP."""


def alternatives_of(run: Path) -> list[dict[str, Any]]:
    """Return the first alternatives of a run by story: the decoding, the texts, and the storyboard as base64 of a WebP.

    Raises VsrError if one is damaged.
    """
    return [
        {
            "story": record["story"],
            "decoding": folder.name.removeprefix(ALTERNATIVES),
            "texts": [each["text"] for each in record["alternatives"]],
            "storyboard": _encoded(folder / STORYBOARD),
        }
        for folder, record in stored_alternatives(run)[:MOST]
    ]


def _encoded(path: Path) -> str:
    try:
        with Image.open(path, formats=["PNG"]) as image:
            board = image.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise VsrError(f"{path}: cannot be read ({one_line(error)}); predict again, or remove its folder") from error
    board.thumbnail((WIDEST, board.height), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    board.save(file, "WEBP", quality=QUALITY)
    return base64.b64encode(file.getvalue()).decode()
