"""How verdicts and scores are written: a mark in tables, and the words of `evaluation.verdicts` elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

from rich.text import Text

from ..evaluation.verdicts import BETTER, NOT_SIGNIFICANT, WORSE

STYLE_OF_VERDICT: Mapping[str | None, str] = {BETTER: "green", WORSE: "red", NOT_SIGNIFICANT: "dim"}
MARK_OF_DIRECTION = {"higher": "↑", "lower": "↓", "one": "→1"}
MARKS: Mapping[str | None, str] = {BETTER: "▲", WORSE: "▼", NOT_SIGNIFICANT: "~", None: ""}
ASCII_MARKS: Mapping[str | None, str] = {BETTER: "^", WORSE: "v", NOT_SIGNIFICANT: "~", None: ""}
NO_VERDICT = "no verdict"
BY = "95 %, paired bootstrap over stories"


def marks(encoding: str = "utf-8") -> Mapping[str | None, str]:
    """Return the mark of each verdict, in characters that an encoding has."""
    try:
        "".join(MARKS.values()).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return ASCII_MARKS
    return MARKS


def verdict_mark(verdict: str | None, *, encoding: str = "utf-8") -> Text:
    """Return the mark of a verdict for a cell of a table: a space where there is none, so that numbers line up."""
    return Text(marks(encoding)[verdict] or " ", style=STYLE_OF_VERDICT.get(verdict, ""))


def legend(against: str, *, by: str = BY, encoding: str = "utf-8") -> str:
    """Say what the marks mean beside what a score is compared with, such as "the first", and how it was decided."""
    found = marks(encoding)
    return (
        f"{found[BETTER]} significantly better than {against}, {found[WORSE]} significantly worse, "
        f"{found[NOT_SIGNIFICANT]} not significant ({by}); no mark, no verdict"
    )


def short(value: float | None) -> str:
    """Write a score with three digits that count."""
    if value is None:
        return "–"
    if abs(value) >= 999.5:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 1e-4 or value == 0 else f"{value:.1e}"
