"""`vsr compare`: evaluations beside each other, with how sure their differences are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from ..api import SpaceMetric
from ..config import resolve_metrics
from ..console import out as console
from ..console import warn
from ..errors import VsrError
from ..layers import parse_set
from ..plugin.registry import Registry

STYLE_OF_WORD = {"better": "green", "worse": "red", "cannot tell": "dim"}


def run_compare(found: Registry, places: Sequence[Path], split: str, assignments: Sequence[str]) -> dict[str, Any]:
    """Compare evaluations of one split with the first of them, and give what came out as JSON has it.

    Raises VsrError if there is only one, or they are not of the same windows.
    """
    if len(places) < 2:
        raise VsrError("compare: only one is named; name two or more runs, or folders that 'vsr score' wrote")
    if twice := {str(place) for place in places if [other.resolve() for other in places].count(place.resolve()) > 1}:
        raise VsrError(f"{min(twice)}: is named twice; name each once")
    from ..evaluation.scoring import build_metrics
    from ..report.comparing import check_alike, compare, configuration_differences, in_one_space, shared_metrics
    from ..report.evaluated import open_evaluated

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
    scores = compare(evaluations, metrics, stories)
    first = evaluations[0]
    return {
        "split": split,
        "stories": first.result["stories"],
        "windows": first.result["windows"],
        "data": first.facts.get("data"),
        "runs": [str(place) for place in places],
        "metrics": {
            name: {"scale": metric.scale, "better": metric.better, "scores": scores[name]}
            for name, metric in metrics.items()
        },
        "not_compared": {**apart, **unavailable, **elsewhere},
        "configurations": configuration_differences(evaluations),
    }


def show_comparison(result: Mapping[str, Any]) -> None:
    """Print the table of scores, and what differs in the configurations."""
    names = _names(result["runs"])
    counted = f"{result['split']} split: {result['stories']} stories, {result['windows']} windows"
    table = Table(title=f"{counted}, free-running", title_justify="left")
    table.add_column("metric")
    for number, name in enumerate(names):
        table.add_column(escape(name), justify="right")
        if number:
            table.add_column(escape(f"less {names[0]}"), justify="right")
            table.add_column("so it is")
    for metric, cell in result["metrics"].items():
        row = [f"{metric} ({escape(cell['scale'])})"]
        for number, score in enumerate(cell["scores"]):
            row.append(_with_interval(score["value"], score["ci95"]))
            if number:
                style = STYLE_OF_WORD[score["word"]]
                row += [_with_interval(score["difference"], score["difference_ci95"], sign="+")]
                row += [f"[{style}]{score['word']}[/{style}]"]
        table.add_row(*row)
    console.print(table)
    console.print(
        "in brackets: 95 % intervals over stories, the same stories drawn for all", soft_wrap=True, markup=False
    )
    if result["configurations"]:
        different = Table(title="what differs", title_justify="left")
        for column in ("setting", *names):
            different.add_column(escape(column))
        for key, values in result["configurations"].items():
            different.add_row(escape(key), *(escape(_said(value)) for value in values))
        console.print(different)
    for metric, reason in result["not_compared"].items():
        warn(f"{metric} is not compared: {reason}")


def _names(places: Sequence[str]) -> list[str]:
    """Name the folders as shortly as tells them apart."""
    short = [Path(place).resolve().name for place in places]
    return short if len(set(short)) == len(short) else list(places)


def _with_interval(value: float, interval: Sequence[float] | None, *, sign: str = "") -> str:
    shown = f"{value:{sign}.4g}"
    return escape(f"{shown} [{interval[0]:{sign}.3g}, {interval[1]:{sign}.3g}]") if interval else shown


def _said(value: Any) -> str:
    return "-" if value is None else value if isinstance(value, str) else json.dumps(value)
