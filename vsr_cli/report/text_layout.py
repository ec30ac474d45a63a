"""Line breaking and drawing of text in any script, in linear time."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING, Literal

from PIL import Image, ImageDraw

from .fonts import Face, Style, face_of, has_raqm, script_of, warn_unshaped

if TYPE_CHECKING:
    from regex import Pattern

Measure = Callable[[int, int], float]
"""The width in pixels of a stretch of a text, given its start and end."""

CLOSING = frozenset("、。，．！？；：）】」』〉》”’…ー々ゝヽ,.!?;:)]}%")
"""Characters that do not begin a line, where a line may end before any character."""
OPENING = frozenset("（【「『〈《“‘([{")
"""Characters that do not end one."""


@cache
def _clusters() -> Pattern[str]:
    import regex  # knows Unicode's clusters: a letter with its marks, an emoji of several characters

    return regex.compile(r"\X")


def clusters(text: str) -> list[str]:
    """Split a text into grapheme clusters, the characters as a reader sees them."""
    return list(text) if text.isascii() else _clusters().findall(text)


@cache
def breaks_anywhere(letter: str) -> bool:
    """Return whether a line may end beside a letter: its script puts no spaces between words."""
    if letter < "\u0e00":
        return False
    name = unicodedata.name(letter, "")
    if unicodedata.east_asian_width(letter) in "WF":
        return not name.startswith("HANGUL")  # Korean has spaces
    return name.startswith(("THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN", "JAVANESE", "BALINESE", "NEW TAI", "TAI"))


def break_lines(text: str, measure: Measure, *, width: float, most: int | None = None) -> list[tuple[int, int]]:
    """Return the start and end of each line of at most `width`, without white space at either end.

    A word wider than a line is broken between characters. Of the lines beyond `most`, only one is returned.
    """
    lines: list[tuple[int, int]] = []
    start = _skip_spaces(text, 0)
    while start < len(text) and (most is None or len(lines) <= most):
        fits = _fitting(text, measure, start, width)
        end = fits if fits == len(text) else _last_break(text, start, fits)
        shown = end - (end - start - len(text[start:end].rstrip()))
        if shown > start:
            lines.append((start, shown))
        start = _skip_spaces(text, end)
    return lines


def fitting(text: str, measure: Measure, *, width: float) -> int:
    """Return how many characters from the start fit into a width; 0 if not even the first does."""
    fits = _fitting(text, measure, 0, width)
    return fits if measure(0, fits) <= width else 0


def _fitting(text: str, measure: Measure, start: int, width: float) -> int:
    """Return the end of the longest stretch from `start` that fits, at least one grapheme cluster."""
    # Galloping search, so that at most about two lines are measured.
    low, step = start, 16
    while True:
        high = min(len(text), low + step)
        if measure(start, high) > width:
            break
        if high == len(text):
            return high
        low, step = high, step * 2
    ends = [start]
    for cluster in clusters(text[start:high]):
        ends.append(ends[-1] + len(cluster))
    least, most = 1, len(ends) - 1
    while least < most:
        middle = (least + most + 1) // 2
        if measure(start, ends[middle]) <= width:
            least = middle
        else:
            most = middle - 1
    return ends[least]


def _last_break(text: str, start: int, fits: int) -> int:
    """Return the last position up to `fits` at which a line may end; `fits` itself if there is none."""
    for at in range(fits, start, -1):
        before, after = text[at - 1], text[at]
        if before.isspace() or after.isspace():
            return at
        beside = breaks_anywhere(before) or breaks_anywhere(after)
        if beside and after not in CLOSING and before not in OPENING and unicodedata.category(after)[0] != "M":
            return at
    return fits


def _skip_spaces(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


@dataclass(frozen=True)
class Run:
    """Letters of one font and one direction."""

    text: str
    face: Face
    style: int
    """Index of its style."""
    rtl: bool

    @property
    def width(self) -> float:
        """In pixels."""
        return self.face.length(self.text, direction=self.direction)

    @property
    def direction(self) -> Literal["ltr", "rtl"] | None:
        """The direction for Pillow; None if Pillow can only draw from left to right."""
        if not has_raqm():
            return None
        return "rtl" if self.rtl else "ltr"


def is_rtl(text: str) -> bool:
    """Return whether a text runs from right to left, as its first letter with a direction does."""
    for letter in text:
        direction = unicodedata.bidirectional(letter)
        if direction in ("L", "R", "AL"):
            return direction != "L"
    return False


def runs_of(text: str, styles: Sequence[int], fonts: Sequence[Style], *, size: int, rtl: bool) -> list[Run]:
    """Split a line into runs, in visual order from left to right.

    `styles` holds, for each character, the index of its font in `fonts`. `rtl` is the direction of the whole text.
    Control characters are left out.
    """
    if text.isascii() and not rtl:
        parts = [
            (style, "".join(text[at] for at in run)) for style, run in groupby(range(len(text)), styles.__getitem__)
        ]
        return [Run(_plain(part), face_of("a", fonts[style], size, ""), style, False) for style, part in parts]
    language = _language(text)
    pieces: list[tuple[str, int, Face]] = []
    at = 0
    for cluster in clusters(text):
        shown = _plain(cluster)
        if shown:
            pieces.append((shown, styles[at], face_of(shown, fonts[styles[at]], size, language)))
        at += len(cluster)
    directions = _directions([piece[0] for piece in pieces], rtl=rtl)
    runs: list[Run] = []
    for (direction, style, face), members in groupby(
        range(len(pieces)), lambda index: (directions[index], pieces[index][1], pieces[index][2])
    ):
        letters = [pieces[index][0] for index in members]
        if direction:
            warn_unshaped(script_of(letters[0][0]))
            letters = letters if has_raqm() else letters[::-1]
        runs.append(Run("".join(letters), face, style, direction))
    return _in_visual_order(runs, rtl=rtl)


def _plain(text: str) -> str:
    """Replace white space by spaces, and remove control characters."""
    return "".join(" " if c.isspace() else "" if unicodedata.category(c) == "Cc" else c for c in text)


def _language(text: str) -> str:
    """Return "ja" or "ko" for a text with letters of that language alone, else an empty string."""
    for letter in text:
        if "\u3041" <= letter <= "\u30ff":
            return "ja"
        if "\uac00" <= letter <= "\ud7a3":
            return "ko"
    return ""


def _directions(parts: Sequence[str], *, rtl: bool) -> list[bool]:
    """Return for each cluster whether it runs from right to left; one without a direction follows its neighbours."""
    own: list[bool | None] = []
    for part in parts:
        kind = unicodedata.bidirectional(part[0])
        own.append(False if kind in ("L", "EN", "AN") else True if kind in ("R", "AL") else None)
    directions: list[bool] = []
    before = rtl
    at = 0
    while at < len(own):
        if (known := own[at]) is not None:
            directions.append(known)
            before = known
            at += 1
            continue
        end = at
        while end < len(own) and own[end] is None:
            end += 1
        after = own[end] if end < len(own) else rtl
        directions += [before if before == after else rtl] * (end - at)
        at = end
    return directions


def _in_visual_order(runs: list[Run], *, rtl: bool) -> list[Run]:
    """Reverse the runs against the direction of the line, and in a right-to-left line the whole."""
    ordered: list[Run] = []
    for direction, group in groupby(runs, lambda run: run.rtl):
        members = list(group)
        ordered += members[::-1] if direction != rtl else members
    return ordered[::-1] if rtl else ordered


def draw_runs(
    board: Image.Image, at: tuple[float, float], runs: Sequence[Run], colours: Sequence[str], *, size: int
) -> float:
    """Draw runs side by side on one base line, each in the colour of its style, and return the x where they end.

    `at` is the left end, and the top of the letters of DejaVu Sans.
    """
    x, top = at
    base = top + face_of("a", "", size, "").font.getmetrics()[0]
    draw = ImageDraw.Draw(board)
    for run in runs:
        if run.face.scale == 1:
            draw.text(
                (x, base),
                run.text,
                font=run.face.font,
                fill=colours[run.style],
                anchor="ls",
                embedded_color=True,
                direction=run.direction,
            )
        else:
            _paste_scaled(board, (x, base), run)
        x += run.width
    return x


def _paste_scaled(board: Image.Image, at: tuple[float, float], run: Run) -> None:
    font = run.face.font
    left, top, right, bottom = font.getbbox(run.text, direction=run.direction, anchor="ls")
    large = Image.new("RGBA", (max(1, round(right - left)), max(1, round(bottom - top))), (0, 0, 0, 0))
    ImageDraw.Draw(large).text(
        (-left, -top), run.text, font=font, anchor="ls", embedded_color=True, direction=run.direction
    )
    scale = run.face.scale
    size = max(1, round(large.width * scale)), max(1, round(large.height * scale))
    small = large.resize(size, Image.Resampling.LANCZOS)
    board.paste(small, (round(at[0] + left * scale), round(at[1] + top * scale)), small)
