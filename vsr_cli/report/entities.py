"""Entities of a story in colour: each id has one colour, for its mentions in texts and its box in images."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from PIL import Image, ImageDraw

from ..api import Box, Entity
from ..config.choices import Resize
from ..data.prepared_types import StoredFrame, StoredStory
from .storyboard import CAPTION_SIZE, INK, LABEL_SIZE, LINE, PANEL_WIDTH, PAPER, load_font
from .text_layout import Run, break_lines, draw_runs, is_rtl, runs_of

COLOURS = (
    "#1565c0", "#c2410c", "#2e7d32", "#8e24aa", "#b0125b", "#00707a", "#8a5a00", "#4a55b8", "#a31515", "#566400",
    "#6d4c41", "#455a64",
)  # fmt: skip
"""For the first ids of a story; all have a contrast of at least 4.5:1 to the paper, as WCAG 2 requires for text."""
BOX_WIDTH = 3
UNDERLINE = 2
LONGEST = 2000
"""Characters of a text that are shown: about fifty lines."""


@dataclass(frozen=True)
class Style:
    """The style of a character in a text."""

    colour: str = INK
    font: Literal["", "-Bold", "-Oblique"] = ""
    underlined: bool = False


PLAIN = Style()


def colour_of(number: int) -> str:
    """Return the colour of the id with a number, from 0. No two are the same."""
    if number < len(COLOURS):
        return COLOURS[number]
    # Each step by the golden ratio leads to the hue farthest from those before it.
    hue = number * 0.618034 % 1
    return "#" + "".join(f"{round(255 * part):02x}" for part in colorsys.hls_to_rgb(hue, 0.22, 0.9))


def colours_of(story: StoredStory) -> dict[str, str]:
    """Return the colour of each id, in the order of the first appearance of ids."""
    ids: dict[str, None] = {}
    for frame in story.frames:
        ids.update(dict.fromkeys(name for entity in frame.entities for name in entity.ids))
        ids.update(dict.fromkeys(name for name, _ in boxes_of(story, frame.index)))
    return {name: colour_of(number) for number, name in enumerate(ids)}


def names_of(story: StoredStory) -> dict[str, str]:
    """Return the meaning of each id: a name, else a description, else its first mention in a text."""
    names: dict[str, str] = {}
    for analysed in (story.analysis or {}).get("frames", ()):
        for described in (*analysed["characters"], *analysed["things"]):
            if what := described.get("name") or described["description"]:
                names.setdefault(described["id"], what)
    for frame in story.frames:
        for entity in frame.entities:
            if entity.kind != "action" and len(entity.ids) == 1:
                names.setdefault(entity.ids[0], (frame.text or "")[entity.start : entity.end])
    return names


def boxes_of(story: StoredStory, index: int) -> Iterator[tuple[str, Box]]:
    """Yield the ids that have a box in a frame's image, with the box in pixels of the source."""
    frames = (story.analysis or {}).get("frames", ())
    if index < len(frames):
        for described in (*frames[index]["characters"], *frames[index]["things"]):
            if described["box"]:
                left, top, right, bottom = described["box"]
                yield described["id"], (left, top, right, bottom)


def place_box(box: Box, source: tuple[int, int], *, resize: Resize, shown: tuple[int, int]) -> Box | None:
    """Return a box of the source image in pixels of the shown image; None where nothing of it is visible.

    `source` and `shown` are (width, height); `shown` is that of `unfit_image`'s result at any scale.
    """
    left, top = 0, 0
    width, height = source
    if resize == "crop":
        side = min(source)
        left, top = (width - side) // 2, (height - side) // 2
        width = height = side
    across, down = shown[0] / width, shown[1] / height
    placed = (
        max(0, round((box[0] - left) * across)),
        max(0, round((box[1] - top) * down)),
        min(shown[0], round((box[2] - left) * across)),
        min(shown[1], round((box[3] - top) * down)),
    )
    return placed if placed[0] < placed[2] and placed[1] < placed[3] else None


def outline(image: Image.Image, boxes: Iterable[tuple[str, Box]], colours: Mapping[str, str]) -> Image.Image:
    """Return a copy of an image with boxes, each in its id's colour and labelled with the id."""
    drawn = image.copy()
    draw, font = ImageDraw.Draw(drawn), load_font(LABEL_SIZE, "-Bold")
    for name, (left, top, right, bottom) in boxes:
        draw.rectangle((left, top, right - 1, bottom - 1), outline=colours[name], width=BOX_WIDTH)
        label = one_line(name)
        width, height = round(font.getlength(label)) + 8, LABEL_SIZE + 4
        # Above the box if it fits there, so that it hides nothing of a small one; never beyond the edge.
        left, top = max(0, min(left, image.width - width)), top - height if top >= height else top
        draw.rectangle((left, top, left + width - 1, top + height), fill=colours[name])
        font.draw(drawn, (left + 4, top + 1), label, fill=PAPER)
    return drawn


def styles_of(frame: StoredFrame, colours: Mapping[str, str]) -> list[Style]:
    """Return the style of each character of a frame's text; of nested entities, that of the inner one.

    A mention of several ids has the colours of all, one stretch each.
    """
    styles = [PLAIN] * len(frame.text or "")
    for entity in frame.entities:
        length = entity.end - entity.start
        for number, name in enumerate(entity.ids):
            start = entity.start + length * number // len(entity.ids)
            end = entity.start + length * (number + 1) // len(entity.ids)
            styles[start:end] = [_style(entity, colours[name])] * (end - start)
    return styles


def _style(entity: Entity, colour: str) -> Style:
    if entity.kind == "action":
        return Style(colour, underlined=True)
    return Style(colour, "-Oblique" if entity.kind == "landmark" else "-Bold")


@dataclass(frozen=True)
class Caption:
    """A text in its styles, broken into lines."""

    text: str
    styles: Sequence[Style]
    lines: Sequence[tuple[int, int]]
    """The start and end of each line in the text."""

    @property
    def height(self) -> int:
        """In pixels."""
        return LINE * len(self.lines)

    def draw(self, board: Image.Image, left: int, top: int) -> None:
        """Draw the caption with its upper left corner at a position; right-to-left text is right-aligned."""
        draw, rtl = ImageDraw.Draw(board), is_rtl(self.text)
        for number, (start, end) in enumerate(self.lines):
            x, y = float(left), top + number * LINE
            runs, styles = _runs(self.text, self.styles, start, end, rtl=rtl)
            if rtl:
                x += max(0.0, PANEL_WIDTH - sum(run.width for run in runs))
            for run in runs:
                style = styles[run.style]
                if style.underlined:
                    under = y + CAPTION_SIZE + 3
                    draw.rectangle((x, under, x + run.width, under + UNDERLINE - 1), fill=style.colour)
                x = draw_runs(board, (x, y), [run], [each.colour for each in styles], size=CAPTION_SIZE)


def break_caption(text: str, styles: Sequence[Style], *, width: int) -> Caption:
    """Break a text into lines of at most `width` pixels; a word wider than that is broken.

    A text over `LONGEST` characters is truncated.
    """
    if len(text) > LONGEST:
        text, styles = f"{text[:LONGEST]} …", [*styles[:LONGEST], PLAIN, PLAIN]
    rtl = is_rtl(text)

    def measure(start: int, end: int) -> float:
        return sum(run.width for run in _runs(text, styles, start, end, rtl=rtl)[0])

    return Caption(text, styles, break_lines(text, measure, width=width))


def one_line(text: str) -> str:
    """Replace all white space by single spaces: a font cannot draw a line break."""
    return " ".join(text.split())


def _runs(text: str, styles: Sequence[Style], start: int, end: int, *, rtl: bool) -> tuple[list[Run], list[Style]]:
    """Return the runs of a stretch of a text, and the styles to which their numbers refer."""
    distinct = list(dict.fromkeys(styles[start:end]))
    numbers = [distinct.index(style) for style in styles[start:end]]
    fonts = [style.font for style in distinct]
    return runs_of(text[start:end], numbers, fonts, size=CAPTION_SIZE, rtl=rtl), distinct
