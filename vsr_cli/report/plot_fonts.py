"""The fonts of charts, so that a title or a label of any script has its letters."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .fonts import LATIN_END, font_of
from .text_layout import clusters


@contextmanager
def fonts_for(*texts: str) -> Iterator[None]:
    """Let matplotlib write some texts, in a block that makes a figure and saves it."""
    import matplotlib as mpl
    from matplotlib import font_manager

    families = ["DejaVu Sans"]
    letters = {cluster for text in texts for cluster in clusters(text) if cluster >= LATIN_END}
    for path in dict.fromkeys(path for path in map(_file_of, sorted(letters)) if path):
        try:
            font_manager.fontManager.addfont(path)
            families.append(font_manager.FontProperties(fname=path).get_name())
        except (OSError, RuntimeError, ValueError):
            continue  # coloured bitmaps, which matplotlib does not read
    with mpl.rc_context({"font.family": families}), warnings.catch_warnings():
        # What no font has has been warned of, in one line a script.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def _file_of(cluster: str) -> Path | None:
    found = font_of(cluster, "", "")
    return None if found is None else found[0]
