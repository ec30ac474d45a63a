"""A report over several runs: one self-contained HTML page with their scores, settings and storyboards side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..runs.results import Evaluated
from .formatting import MARKS, legend
from .html import STYLE, environment, read_template, shown
from .markdown import plain
from .markdown import table as markdown_table
from .sheet_formats import to_markdown
from .sheets import Entry, comparison_sheet, has_interval, has_verdict

PAGE = "comparison.html.j2"


def comparison_page(
    result: Mapping[str, Any], names: Sequence[str], evaluations: Sequence[Evaluated], boards: Mapping[str, Any]
) -> str:
    """Return the page's HTML: `result` is that of `vsr compare`, `boards` that of `html_gallery.side_by_side`.

    All texts are escaped, and no script may run.
    """
    sheet = comparison_sheet(result, names)
    columns = [list(map(_as_dict, column)) for column in zip(*(row[1:] for row in sheet.rows), strict=True)]
    return (
        environment()
        .get_template(PAGE)
        .render(
            result=result,
            names=names,
            baselines=[str(row[0]) for row in sheet.rows[len(names) :]],
            rows=[{"title": title, "cells": of} for title, of in zip(sheet.head[1:], columns, strict=True)],
            marks=MARKS,
            legend=legend(names[0]) if has_verdict(sheet.rows) else None,
            intervals=has_interval(sheet.rows),
            cautions=sheet.cautions,
            boards=shown(boards),
            signatures=[each.result["signature"] for each in evaluations],
            style=read_template(STYLE),
        )
    )


def comparison_markdown(result: Mapping[str, Any], names: Sequence[str]) -> str:
    """Return the scores and the settings that differ as Markdown."""
    text = to_markdown(comparison_sheet(result, names))
    settings = result["configurations"]
    if not settings:
        return text
    rows = [
        [plain(key), *(plain("–" if value is None else str(value)) for value in of)] for key, of in settings.items()
    ]
    head = ["different settings", *map(plain, names)]
    return "\n".join([text, *markdown_table(head, rows, words=len(head)), ""])


def _as_dict(value: str | Entry) -> Any:
    return vars(value) if isinstance(value, Entry) else value
