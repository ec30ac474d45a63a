"""Formatting of scores, losses, times and verdicts, shared by tables, pages and charts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from rich.text import Text

from ..runs.results import BETTER, NOT_SIGNIFICANT, WORSE

MISSING = "–"
STYLE_OF_VERDICT: Mapping[str | None, str] = {BETTER: "green", WORSE: "red", NOT_SIGNIFICANT: "dim"}
MARK_OF_DIRECTION = {"higher": "↑", "lower": "↓", "one": "→1"}
MARKS: Mapping[str | None, str] = {BETTER: "▲", WORSE: "▼", NOT_SIGNIFICANT: "~", None: ""}
ASCII_MARKS: Mapping[str | None, str] = {BETTER: "^", WORSE: "v", NOT_SIGNIFICANT: "~", None: ""}
MOST_DECIMALS = 5
NOT_TESTED = "not tested"
"""Shown where there is no verdict."""
TEST = "95 %, paired bootstrap over stories"


def marks(encoding: str = "utf-8") -> Mapping[str | None, str]:
    """Return the mark of each verdict, in characters that an encoding has."""
    try:
        "".join(MARKS.values()).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return ASCII_MARKS
    return MARKS


def verdict_mark(verdict: str | None, *, encoding: str = "utf-8") -> Text:
    """Return the mark of a verdict for a table cell; a space where there is none, so that numbers line up."""
    return Text(marks(encoding)[verdict] or " ", style=STYLE_OF_VERDICT.get(verdict, ""))


def legend(
    against: str, *, by: str = TEST, encoding: str = "utf-8", mark: Mapping[str | None, str] | None = None
) -> str:
    """Explain the marks: against what a score is compared, such as "the first run", and by which test.

    `mark` replaces the marks of the encoding, such as by those of LaTeX.
    """
    mark = mark or marks(encoding)
    return (
        f"{mark[BETTER]} significantly better than {against}, {mark[WORSE]} significantly worse, "
        f"{mark[NOT_SIGNIFICANT]} not significant ({by}); no mark: not tested"
    )


def short(value: float | None) -> str:
    """Format a score with three significant digits."""
    if value is None:
        return MISSING
    if abs(value) >= 999.5:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 1e-4 or value == 0 else f"{value:.1e}"


def column_format(first: float | None) -> Callable[[float | None], str]:
    """Return the format of a column of scores: the decimals with which `first` has three significant digits."""
    decimals = max(0, min(MOST_DECIMALS, 2 - math.floor(math.log10(abs(first))))) if first else 3
    return lambda value: MISSING if value is None else f"{value:z,.{decimals}f}"


def best_of(values: Sequence[float | None], better: str, shown: Callable[[float], str]) -> set[int]:
    """Return the indices of the best of some scores, all that are shown alike; none of a single one.

    `better` is the direction of the metric, a key of `MARK_OF_DIRECTION`.
    """
    loss = {"higher": lambda value: -value, "lower": lambda value: value, "one": lambda value: abs(value - 1)}[better]
    scored = {index: value for index, value in enumerate(values) if value is not None and not math.isnan(value)}
    if len(scored) < 2:
        return set()
    best = shown(min(scored.values(), key=loss))
    return {index for index, value in scored.items() if shown(value) == best}


def loss_text(value: float | None) -> str:
    """Format a loss with four decimals, or four significant digits from 1000 on; empty for None."""
    return "" if value is None else f"{value:.4f}" if abs(value) < 1000 else f"{value:.4g}"


def clock(seconds: float) -> str:
    """Format a duration as H:MM:SS, or M:SS below one hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
