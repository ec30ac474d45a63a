"""Storyboard images: the frames of a story in a row, each above its text, the predicted one marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

from PIL import Image, ImageDraw

from ..files.atomic import replacing
from .fonts import Style
from .text_layout import Run, break_lines, draw_runs, is_rtl, runs_of

PANEL_WIDTH = 300
GAP = 18
MARGIN = 28
CAPTION_SIZE = 15
LABEL_SIZE = 12
LINE = 22
TALLEST = 1.25
"""The largest ratio of height to width; a taller image is shown narrower."""
LONGEST_CAPTION = 14
"""Lines after which a caption is truncated, so that one long text does not leave the others with empty space."""

PAPER, INK, FAINT, ACCENT, TRUTH = "#fbfaf7", "#22252b", "#8a8f98", "#d1495b", "#2e7d6b"


AnyPanel = TypeVar("AnyPanel")


@dataclass(frozen=True)
class Panel:
    """One frame of a storyboard."""

    image: Image.Image
    caption: str
    label: str
    colour: str = FAINT
    """Of the label and, unless it is faint, of a border around the image."""


def context_panel(number: int, image: Image.Image, caption: str) -> Panel:
    """Return the panel of a context frame."""
    return Panel(image, caption, f"frame {number}")


def predicted_panel(image: Image.Image, caption: str, *, number: int | None = None) -> Panel:
    """Return the panel of the predicted frame, or of one of several, counted from 1."""
    return Panel(image, caption, "predicted" if number is None else f"predicted {number}", ACCENT)


def story_panel(number: int, image: Image.Image, caption: str) -> Panel:
    """Return the panel of a predicted frame within a story."""
    return Panel(image, caption, f"frame {number}, predicted", ACCENT)


def alternative_panel(number: int, index: int, image: Image.Image, caption: str, *, picked: bool) -> Panel:
    """Return the panel of one of several predictions of a frame, counted from 1."""
    label = f"frame {number}, prediction {index}"
    return Panel(image, caption, f"{label}, picked", ACCENT) if picked else Panel(image, caption, label)


def true_panel(image: Image.Image, caption: str) -> Panel:
    """Return the panel of the target frame."""
    return Panel(image, caption, "actual", TRUTH)


def in_rows(panels: Sequence[AnyPanel], columns: int) -> list[Sequence[AnyPanel]]:
    """Divide panels of any kind into rows of `columns`, the last of which may be shorter."""
    return [panels[start : start + columns] for start in range(0, len(panels), columns)]


def draw_storyboard(rows: Sequence[Sequence[Panel]]) -> Image.Image:
    """Return an image of some stories, one row per story."""
    label_font, caption_font = load_font(LABEL_SIZE), load_font(CAPTION_SIZE)
    captions = [[_wrap(panel.caption, caption_font) for panel in row] for row in rows]
    image_heights = [max(panel_size(panel.image)[1] for panel in row) for row in rows]
    caption_heights = [max(len(lines) for lines in row) * LINE for row in captions]
    heights = [
        LABEL_SIZE + 10 + height + 12 + caption for height, caption in zip(image_heights, caption_heights, strict=True)
    ]
    columns = max(len(row) for row in rows)
    width = 2 * MARGIN + columns * PANEL_WIDTH + (columns - 1) * GAP
    board = Image.new("RGB", (width, 2 * MARGIN + sum(heights) + (len(rows) - 1) * 2 * GAP), PAPER)
    draw = ImageDraw.Draw(board)
    top = MARGIN
    for row, lines_of, image_height, height in zip(rows, captions, image_heights, heights, strict=True):
        for column, (panel, lines) in enumerate(zip(row, lines_of, strict=True)):
            left = MARGIN + column * (PANEL_WIDTH + GAP)
            label_font.draw(board, (left, top), panel.label.upper(), fill=panel.colour)
            size = panel_size(panel.image)
            at = (left + (PANEL_WIDTH - size[0]) // 2, top + LABEL_SIZE + 10)
            board.paste(panel.image.convert("RGB").resize(size, Image.Resampling.LANCZOS), at)
            if panel.colour != FAINT:
                box = (at[0] - 4, at[1] - 4, at[0] + size[0] + 3, at[1] + size[1] + 3)
                draw.rectangle(box, outline=panel.colour, width=3)
            text_top = top + LABEL_SIZE + 10 + image_height + 12
            for index, line in enumerate(lines):
                caption_font.draw(board, (left, text_top + index * LINE), line, fill=INK, width=PANEL_WIDTH)
        top += height + 2 * GAP
    return board


def save_image(image: Image.Image, path: Path) -> None:
    """Write a PNG, whole or not at all."""
    with replacing(path) as temporary:
        image.save(temporary, format="PNG")


@dataclass(frozen=True)
class Font:
    """A size and a style for texts of any script; each letter is drawn in a font that has it."""

    size: int
    style: Style = ""

    def getlength(self, text: str) -> float:
        """Return the width of a line, in pixels."""
        return sum(run.width for run in self._runs(text))

    def draw(
        self, board: Image.Image, at: tuple[float, float], text: str, *, fill: str, width: float | None = None
    ) -> None:
        """Draw a line of text at a position; right-to-left text is right-aligned within `width`, if that is set."""
        runs = self._runs(text)
        x, y = at
        if width is not None and is_rtl(text):
            x += max(0, width - sum(run.width for run in runs))
        draw_runs(board, (x, y), runs, [fill], size=self.size)

    def _runs(self, text: str) -> list[Run]:
        return runs_of(text, [0] * len(text), [self.style], size=self.size, rtl=is_rtl(text))


@cache
def load_font(size: int, style: Style = "") -> Font:
    """Return DejaVu Sans at a size, with other fonts for the letters that it lacks."""
    return Font(size, style)


def panel_size(image: Image.Image) -> tuple[int, int]:
    """Return the size at which an image is shown."""
    height = PANEL_WIDTH * image.height / image.width
    if height > TALLEST * PANEL_WIDTH:
        height = TALLEST * PANEL_WIDTH
        return max(1, round(height * image.width / image.height)), round(height)
    return PANEL_WIDTH, max(1, round(height))


def _wrap(text: str, font: Font) -> list[str]:
    """Return the lines of a caption that are shown; a word wider than the panel is broken."""
    text = " ".join(text.split())
    lines = break_lines(
        text, lambda start, end: font.getlength(text[start:end]), width=PANEL_WIDTH, most=LONGEST_CAPTION
    )
    shown = [text[start:end] for start, end in lines] or [""]
    return [*shown[: LONGEST_CAPTION - 1], "…"] if len(shown) > LONGEST_CAPTION else shown
