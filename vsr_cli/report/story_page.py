"""One image of a whole story: all its frames, with the entities of the texts in colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..data.images import unfit_image
from ..data.prepared import Prepared
from ..data.prepared_types import StoredFrame, StoredStory
from .entities import (
    LONGEST,
    PLAIN,
    Caption,
    Style,
    boxes_of,
    break_caption,
    colours_of,
    names_of,
    one_line,
    outline,
    place_box,
    styles_of,
)
from .storyboard import (
    ACCENT,
    CAPTION_SIZE,
    FAINT,
    GAP,
    INK,
    LABEL_SIZE,
    LINE,
    MARGIN,
    PANEL_WIDTH,
    PAPER,
    Font,
    in_rows,
    load_font,
    panel_size,
)
from .text_layout import fitting

COLUMNS = 5
LEAST_COLUMNS = 3
"""The image has at least the width of so many columns."""
TITLE_SIZE = 20
TITLE_HEIGHT = 52
LABEL_HEIGHT = LABEL_SIZE + 10
CAPTION_GAP = 12
PLACEHOLDER = (PANEL_WIDTH, 168)
EMPTY = "#ecebe5"
KINDS = "bold: characters and objects; underlined: actions; slanted: places"


def frame_image(prepared: Prepared, frame: StoredFrame) -> Image.Image | None:
    """Return the image of a frame in the proportions of its source; None if it has none."""
    if frame.image_row < 0:
        return None
    facts, row = prepared.image_facts, frame.image_row
    square = Image.fromarray(prepared.frames.images.gather(np.asarray([row], dtype=np.int64))[0])
    width, height = int(facts.width[row]), int(facts.height[row])
    return unfit_image(square, width=width, height=height, resize=prepared.resize)


def draw_story(prepared: Prepared, story: StoredStory) -> Image.Image:
    """Return an image of all frames of a story in rows of five, each above its text, with a legend of the colours."""
    colours = colours_of(story)
    panels = [_panel(prepared, story, frame, colours) for frame in story.frames]
    rows = in_rows(panels, COLUMNS)
    legend = _legend(colours, names_of(story))
    columns = max(LEAST_COLUMNS, *map(len, rows))
    legend_lines = -(-len(legend) // columns)
    height = TITLE_HEIGHT + sum(_height(row) + 2 * GAP for row in rows) + (legend_lines + 1) * LINE
    board = Image.new("RGB", (2 * MARGIN + columns * (PANEL_WIDTH + GAP) - GAP, 2 * MARGIN + height), PAPER)
    _draw_title(board, story)
    top = MARGIN + TITLE_HEIGHT
    for row in rows:
        for column, panel in enumerate(row):
            panel.draw(board, (_left(column), top), image_height=_image_height(row))
        top += _height(row) + 2 * GAP
    for number, entry in enumerate(legend):
        entry.draw(board, _left(number % columns), top + number // columns * LINE)
    if legend:
        load_font(LABEL_SIZE).draw(board, (MARGIN, top + legend_lines * LINE + 8), KINDS, fill=FAINT)
    return board


def _left(column: int) -> int:
    return MARGIN + column * (PANEL_WIDTH + GAP)


@dataclass(frozen=True)
class _StoryPanel:
    """One frame, ready to be drawn."""

    label: str
    label_colour: str
    image: Image.Image
    caption: Caption

    def draw(self, board: Image.Image, at: tuple[int, int], *, image_height: int) -> None:
        """Draw the panel with its upper left corner at `at`, its text below the highest image of its row."""
        left, top = at
        load_font(LABEL_SIZE).draw(board, (left, top), self.label.upper(), fill=self.label_colour)
        board.paste(self.image, (left + (PANEL_WIDTH - self.image.width) // 2, top + LABEL_HEIGHT))
        self.caption.draw(board, left, top + LABEL_HEIGHT + image_height + CAPTION_GAP)


def _panel(prepared: Prepared, story: StoredStory, frame: StoredFrame, colours: Mapping[str, str]) -> _StoryPanel:
    label = f"frame {frame.index + 1}"
    if frame.problem:
        label += f": {frame.problem.replace('_', ' ')}"
    image = frame_image(prepared, frame)
    if image is None:
        shown = _placeholder()
    else:
        shown = image.resize(panel_size(image), Image.Resampling.LANCZOS)
        source = int(prepared.image_facts.width[frame.image_row]), int(prepared.image_facts.height[frame.image_row])
        placed = [
            (name, place_box(box, source, resize=prepared.resize, shown=shown.size))
            for name, box in boxes_of(story, frame.index)
        ]
        shown = outline(shown, [(name, box) for name, box in placed if box], colours)
    if frame.text is None:
        text = "no text"
        styles: Sequence[Style] = [Style(FAINT, "-Oblique")] * len(text)
    else:
        text, styles = frame.text, styles_of(frame, colours)
    caption = break_caption(text, styles, width=PANEL_WIDTH)
    return _StoryPanel(label, ACCENT if frame.problem else FAINT, shown, caption)


def _placeholder() -> Image.Image:
    empty = Image.new("RGB", PLACEHOLDER, EMPTY)
    font, text = load_font(LABEL_SIZE, "-Oblique"), "no image"
    font.draw(empty, ((PLACEHOLDER[0] - font.getlength(text)) / 2, (PLACEHOLDER[1] - LABEL_SIZE) / 2), text, fill=FAINT)
    return empty


def _image_height(row: Sequence[_StoryPanel]) -> int:
    return max(panel.image.height for panel in row)


def _height(row: Sequence[_StoryPanel]) -> int:
    return LABEL_HEIGHT + _image_height(row) + CAPTION_GAP + max(panel.caption.height for panel in row)


def _draw_title(board: Image.Image, story: StoredStory) -> None:
    font = load_font(TITLE_SIZE, "-Bold")
    title = _truncated(one_line(story.id), font, 2 * PANEL_WIDTH)
    font.draw(board, (MARGIN, MARGIN), title, fill=INK)
    where = f"{story.split} split" if story.split else f"in no split: {str(story.dropped).replace('_', ' ')}"
    at = (MARGIN + font.getlength(title) + GAP, MARGIN + TITLE_SIZE - LABEL_SIZE)
    load_font(LABEL_SIZE).draw(board, at, f"{where}, {len(story.frames)} frames", fill=FAINT)


def _legend(colours: Mapping[str, str], names: Mapping[str, str]) -> list[Caption]:
    """Return a line for each id, in its colour, with its meaning."""
    entries = []
    for name, colour in colours.items():
        shown = f"{one_line(name)} "
        width = PANEL_WIDTH - load_font(CAPTION_SIZE, "-Bold").getlength(shown)
        meaning = _truncated(one_line(names.get(name, "")), load_font(CAPTION_SIZE), width)
        styles = [Style(colour, "-Bold")] * len(shown) + [PLAIN] * len(meaning)
        entries.append(Caption(shown + meaning, styles, [(0, len(styles))]))
    return entries


def _truncated(text: str, font: Font, width: float) -> str:
    """Return a text, truncated if it is wider than `width` pixels."""
    text = text if len(text) <= LONGEST else text[:LONGEST] + "…"
    available = width if font.getlength(text) <= width else width - font.getlength("…")
    fits = fitting(text, lambda start, end: font.getlength(text[start:end]), width=available)
    return text if fits == len(text) else f"{text[:fits]}…"
