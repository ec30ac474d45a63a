"""The table of an evaluation's scores for a terminal: each with its interval, its baselines and its upper bound."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from ..console import out as console
from ..console import styled
from .formatting import verdict_mark
from .tables import Cell, Column, fitting_table

COMMON = 5
"""The baselines that every metric has, and that have columns."""


LONG = 10
"""Characters of a baseline's name beyond which it takes two lines."""


def score_table(metrics: Mapping[str, Any], *, width: int) -> RenderableType:
    """Return the table of scores, a row for each metric: its score and interval, its baselines, its upper bound."""
    baselines = _common_baselines(metrics)
    scores = [score if "value" in score else None for score in metrics.values()]
    columns = [
        Column("metric", list(metrics), justify="left"),
        Column("model", [_score_cell(score) if score else "unavailable" for score in scores]),
        *(
            Column(
                _on_two_lines(name), [_baseline_cell(score["baselines"].get(name)) if score else "" for score in scores]
            )
            for name in baselines
        ),
        Column(
            "upper bound",
            ["" if not score or score["upper_bound"] is None else f"{score['upper_bound']:.4g}" for score in scores],
            rank=1,
        ),
        Column("scale", [score["scale"] if score else "" for score in scores], rank=2, justify="left"),
    ]
    return fitting_table(columns, width=width)


def _on_two_lines(name: str) -> Text:
    """Break a long name after its hyphen, so that all baselines fit in 80 columns."""
    return Text(name.replace("-", "-\n", 1) if len(name) > LONG else name)


def other_baselines(metrics: Mapping[str, Any], *, width: int) -> RenderableType | None:
    """Return the table of what only some metrics have, other baselines and components; None where there is nothing."""
    rows: list[tuple[str, str, Cell]] = []
    common = _common_baselines(metrics)
    for metric, score in metrics.items():
        components = score.get("components", {})
        rows += [(metric, name, f"{value:.4g}  ") for name, value in components.items() if value is not None]
        others = {name: each for name, each in score.get("baselines", {}).items() if name not in common}
        rows += [(metric, f"baseline {name}", _baseline_cell(each)) for name, each in others.items()]
    if not rows:
        return None
    columns = [
        Column("metric", [metric for metric, _, _ in rows], justify="left"),
        Column("also", [name for _, name, _ in rows], justify="left"),
        Column("score", [cell for _, _, cell in rows]),
    ]
    return fitting_table(columns, width=width)


def _score_cell(score: Mapping[str, Any]) -> Text:
    if score["ci95"] is None:
        return Text(f"{score['value']:.4g}")
    return styled("{}\n[dim]{}[/dim]", f"{score['value']:.4g}", "{:.3g}..{:.3g}".format(*score["ci95"]))


def _common_baselines(metrics: Mapping[str, Any]) -> list[str]:
    """Return the baselines that every metric has; more columns would not fit the width."""
    scored = [score["baselines"] for score in metrics.values() if "baselines" in score]
    return [name for name in scored[0] if all(name in each for each in scored)][:COMMON] if scored else []


def _baseline_cell(baseline: Mapping[str, Any] | None) -> Cell:
    if baseline is None:
        return ""
    if "unavailable" in baseline:
        return "unavailable"
    return Text(f"{baseline['value']:.4g} ") + verdict_mark(baseline["verdict"], encoding=console.encoding)
