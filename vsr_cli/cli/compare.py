"""`vsr compare`: compare evaluations of the same windows, with the significance of their differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType

from ..console import out as console
from ..console import styled, warn
from ..errors import VsrError
from ..files.strict_json import to_json
from ..quantities import counted
from ..report.tables import Cell, Column, fitting_table
from ..workflows.settings import load_registry, metric_names
from .arguments import Assignments, Form, Json, ScoredData, SplitName, as_path, completing
from .output import chosen_format, write_result
from .parsing.commands import examples

if TYPE_CHECKING:
    from ..plugin.registry import Registry

LEGEND = (
    "↑ higher is better, ↓ lower is better, →1 closer to 1 is better; difference: from the first evaluation; "
    "95 %: confidence interval over stories"
)
VERDICT = "verdict"
"""The title of the column of marks."""

LEAST_NAME = 17
"""The least width of a run's name; a longer one wraps."""


@examples(
    "vsr compare runs/gru runs/lstm",
    "vsr compare runs/gru scores/theirs --split test --json",
    "vsr compare runs/gru runs/lstm --metrics bleu meteor --format latex",
)
def compare(
    places: Annotated[
        list[Path],
        typer.Argument(
            parser=as_path,
            metavar="RUN",
            help="Runs, folders that 'vsr score' wrote, or folders of evaluations; compared with the first of them.",
        ),
    ],
    split: SplitName = "test",
    data: ScoredData = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metrics",
            metavar="NAME...",
            help="Compare these metrics alone. Default: all that every evaluation has.",
            autocompletion=completing("metrics"),
        ),
    ] = None,
    assignments: Assignments = None,
    form: Form = None,
    as_json: Json = False,
) -> None:
    """Compare evaluations of the same windows: differences with confidence intervals, and which settings differ."""
    from ..report.sheets import comparison_sheet

    form = chosen_format(form, as_json=as_json)
    registry = load_registry()
    only = metric_names(registry, metrics) if metrics else None
    result = run_compare(registry, places, split, assignments or [], only=only, data=data)
    write_result(
        form,
        result,
        table=lambda: show_comparison(result),
        sheet=lambda: comparison_sheet(result, short_names(result["runs"])),
    )


def run_compare(
    registry: Registry,
    places: Sequence[Path],
    split: str,
    assignments: Sequence[str],
    *,
    only: Sequence[str] | None = None,
    data: Path | None = None,
) -> dict[str, Any]:
    """Compare evaluations of one split with the first of them, and return the result, for JSON.

    `only` names the metrics to compare; None: all that every evaluation has. `data` is what was scored; None: each
    run's own.

    Raises VsrError if there is only one, or they are not of the same windows.
    """
    if len(places) < 2:
        raise VsrError("compare: only one is named; name at least two runs, or folders that 'vsr score' wrote")
    if twice := {str(place) for place in places if [other.resolve() for other in places].count(place.resolve()) > 1}:
        raise VsrError(f"{min(twice)}: is named twice; name each once")
    from ..api import SpaceMetric
    from ..config.experiment import resolve_metrics
    from ..config.resolve import parse_set
    from ..evaluation.comparison import (
        check_alike,
        compare,
        configuration_differences,
        in_one_space,
        shared_baselines,
        shared_metrics,
    )
    from ..evaluation.scoring import build_metrics, check_available
    from ..evaluation.significance import few_stories
    from ..runs.hub import find_run
    from ..runs.results import open_evaluated

    places = [find_run(place) for place in places]
    evaluations = [open_evaluated(place, split, data=data) for place in places]
    stories = check_alike(evaluations)
    shared, apart = shared_metrics(evaluations)
    if only is not None:
        resolve_metrics(registry, only, [])  # raises for a name that there is not
        shared = [name for name in shared if name in only]
        apart = {name: apart.get(name, "not measured") for name in only if name not in shared}
    metrics, unavailable = build_metrics(resolve_metrics(registry, shared, parse_set(assignments)))
    elsewhere = {
        name: "measured in embeddings of the runs' own encoders, which differ"
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
            name: {
                "scale": metric.scale,
                "better": metric.better,
                "scores": scores[name],
                "baselines": shared_baselines(evaluations, name),
            }
            for name, metric in metrics.items()
        },
        "not_compared": not_compared,
        "configurations": configuration_differences(evaluations),
    }


def show_comparison(result: Mapping[str, Any]) -> None:
    """Print the table of scores, and what differs in the configurations."""
    from ..report.formatting import legend

    names = short_names(result["runs"])
    title = f"{result['split']} split: {counted(result['stories'], 'story')}, {counted(result['windows'], 'window')}"
    console.print(styled("[bold]{}[/bold]", title), soft_wrap=True)
    console.print(_score_table(result["metrics"], names, width=console.width))
    console.print(LEGEND, soft_wrap=True, markup=False)
    if any(score.get("verdict") for cell in result["metrics"].values() for score in cell["scores"]):
        console.print(legend("the first", encoding=console.encoding), soft_wrap=True, markup=False)
    for caution in result["cautions"]:
        warn(caution)
    if result["configurations"]:
        console.print(styled("\n[bold]different settings[/bold]"))
        settings = result["configurations"]
        columns = [
            Column("setting", list(settings), justify="left"),
            *(
                Column(name, [_plain(values[at]) for values in settings.values()], justify="left")
                for at, name in enumerate(names)
            ),
        ]
        console.print(fitting_table(columns, width=console.width))
    for metric, reason in result["not_compared"].items():
        warn(f"{metric} is not compared: {reason}")


def _score_table(metrics: Mapping[str, Any], names: Sequence[str], *, width: int) -> RenderableType:
    """Return the table of scores: under each metric a row for each run, all but the first with its difference."""
    from ..report.formatting import MARK_OF_DIRECTION, verdict_mark

    rows: list[tuple[Cell, ...]] = []
    for metric, cell in metrics.items():
        rows.append((styled("[bold]{}[/bold] {}", metric, MARK_OF_DIRECTION[cell["better"]]), *[""] * 5))
        for name, score in zip(names, cell["scores"], strict=True):
            row: tuple[Cell, ...] = (f" {name}", f"{score['value']:.4g}", _between(score["ci95"]), "", "", "")
            if "verdict" in score:
                between = _between(score["difference_ci95"], sign="+")
                mark = verdict_mark(score["verdict"], encoding=console.encoding)
                row = (*row[:3], f"{score['difference']:+.2g}", between, mark)
            rows.append(row)
    cells = list(zip(*rows, strict=True)) or [()] * 6
    # The interval of a difference implies the difference.
    ranks = {"95 %": 1, "difference": 2}
    titles = ("metric", "score", "95 %", "difference", "its 95 %", VERDICT)
    columns = [
        Column(
            title,
            cells[at],
            ranks.get(title, 0),
            "left" if title in ("metric", VERDICT) else "right",
            wraps=LEAST_NAME if title == "metric" else 0,
        )
        for at, title in enumerate(titles)
    ]
    return fitting_table(columns, width=width)


def short_names(places: Sequence[str]) -> list[str]:
    """Return the shortest names that tell the folders apart."""
    short = [Path(place).resolve().name for place in places]
    return short if len(set(short)) == len(short) else list(places)


def _between(interval: Sequence[float] | None, *, sign: str = "") -> str:
    digits = 2 if sign else 3
    return f"{interval[0]:{sign}.{digits}g}..{interval[1]:{sign}.{digits}g}" if interval else "-"


def _plain(value: Any) -> str:
    return "-" if value is None else value if isinstance(value, str) else to_json(value)
