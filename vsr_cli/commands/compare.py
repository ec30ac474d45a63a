"""`vsr compare`: evaluations beside each other, with how sure their differences are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table

from ..api import SpaceMetric
from ..config import resolve_metrics
from ..console import out as console
from ..console import styled, warn
from ..errors import VsrError
from ..layers import parse_set
from ..plugin.registry import Registry
from ..report.verdicts import MARK_OF_DIRECTION, legend, verdict_mark
from ..strict_json import to_json

LEGEND = (
    "↑ higher is better, ↓ lower, →1 nearer to 1; differences: less the first; 95 %: over stories, the same for all"
)
VERDICT = "verdict"
"""The title of the column of marks."""
LEAST_NAME = 12
"""Characters that a run's name has at least: a longer one goes on below."""


def run_compare(found: Registry, places: Sequence[Path], split: str, assignments: Sequence[str]) -> dict[str, Any]:
    """Compare evaluations of one split with the first of them, and give what came out as JSON has it.

    Raises VsrError if there is only one, or they are not of the same windows.
    """
    if len(places) < 2:
        raise VsrError("compare: only one is named; name two or more runs, or folders that 'vsr score' wrote")
    if twice := {str(place) for place in places if [other.resolve() for other in places].count(place.resolve()) > 1}:
        raise VsrError(f"{min(twice)}: is named twice; name each once")
    from ..evaluation.scoring import build_metrics, check_available
    from ..evaluation.stored import open_evaluated
    from ..evaluation.verdicts import few_stories
    from ..report.comparing import check_alike, compare, configuration_differences, in_one_space, shared_metrics

    evaluations = [open_evaluated(place, split) for place in places]
    stories = check_alike(evaluations)
    shared, apart = shared_metrics(evaluations)
    metrics, unavailable = build_metrics(resolve_metrics(found, shared, parse_set(assignments)))
    elsewhere = {
        name: "measured in the runs' own spaces, and these are not one"
        for name, metric in metrics.items()
        if isinstance(metric, SpaceMetric) and not in_one_space(evaluations, metric)
    }
    metrics = {name: metric for name, metric in metrics.items() if name not in elsewhere}
    not_compared = {**apart, **unavailable, **elsewhere}
    check_available(metrics, {name: f"{name} cannot be compared: {reason}" for name, reason in not_compared.items()})
    scores = compare(evaluations, metrics, stories)
    first = evaluations[0]
    return {
        "split": first.split,
        "stories": first.result["stories"],
        "windows": first.result["windows"],
        "cautions": [few] if (few := few_stories(first.result["stories"])) else [],
        "data": first.facts.get("data"),
        "runs": [str(place) for place in places],
        "metrics": {
            name: {"scale": metric.scale, "better": metric.better, "scores": scores[name]}
            for name, metric in metrics.items()
        },
        "not_compared": not_compared,
        "configurations": configuration_differences(evaluations),
    }


def show_comparison(result: Mapping[str, Any]) -> None:
    """Print the table of scores, and what differs in the configurations."""
    names = _names(result["runs"])
    title = f"{result['split']} split: {result['stories']} stories, {result['windows']} windows"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("metric", min_width=LEAST_NAME, overflow="fold")
    for column in ("score", "95 %", "difference", "95 %", VERDICT):
        table.add_column(column, justify="left" if column == VERDICT else "right", no_wrap=True)
    for metric, cell in result["metrics"].items():
        table.add_row(styled("[bold]{}[/bold] {}", metric, MARK_OF_DIRECTION[cell["better"]]))
        for name, score in zip(names, cell["scores"], strict=True):
            row: list[RenderableType] = [f" {name}", f"{score['value']:.4g}", _between(score["ci95"])]
            if "verdict" in score:
                row += [f"{score['difference']:+.2g}", _between(score["difference_ci95"], sign="+")]
                row.append(verdict_mark(score["verdict"], encoding=console.encoding))
            table.add_row(*row)
    console.print(table)
    console.print(LEGEND, soft_wrap=True, markup=False)
    console.print(legend("the first", encoding=console.encoding), soft_wrap=True, markup=False)
    for caution in result["cautions"]:
        warn(caution)
    if result["configurations"]:
        different = Table(title="what differs", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
        for column in ("setting", *names):
            different.add_column(column)
        for key, values in result["configurations"].items():
            different.add_row(key, *(_said(value) for value in values))
        console.print(different)
    for metric, reason in result["not_compared"].items():
        warn(f"{metric} is not compared: {reason}")


def _names(places: Sequence[str]) -> list[str]:
    """Name the folders as shortly as tells them apart."""
    short = [Path(place).resolve().name for place in places]
    return short if len(set(short)) == len(short) else list(places)


def _between(interval: Sequence[float] | None, *, sign: str = "") -> str:
    digits = 2 if sign else 3
    return f"{interval[0]:{sign}.{digits}g}..{interval[1]:{sign}.{digits}g}" if interval else "-"


def _said(value: Any) -> str:
    return "-" if value is None else value if isinstance(value, str) else to_json(value)
