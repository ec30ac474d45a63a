"""What an ablation came to, in words and tables, for a terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from rich.console import RenderableType

from ..runs.history import clock
from .markdown import plain
from .markdown import table as markdown_table
from .tables import Column, fitting_table
from .verdicts import MARK_OF_DIRECTION, STYLE_OF_VERDICT, legend, marks, short

NONE = "–"
VERDICT = "verdict"
LEFT = ("", VERDICT)
"""The titles of columns of words."""


SCORE_COLUMNS = ("", "mean", "95 %", "difference", "95 %", VERDICT, "floors")
LESS_NEEDED = {"floors": 3, "difference": 2}
"""The columns that go where there is little room, the highest first; the difference's interval tells of it, too."""
COST_COLUMNS = ("", "seeds", "parameters", "time a run")


def tables(result: Mapping[str, Any], *, width: int, encoding: str = "utf-8") -> dict[str, RenderableType]:
    """Return the table of each metric and that of the costs, under what stands above it. `result` is result.json's."""
    found = {}
    for name, metric in result["metrics"].items():
        floors = ", ".join(f"{floor} {short(value)}" for floor, value in floor_means(metric).items())
        rows = score_rows(result, name, encoding=encoding)
        styles = [STYLE_OF_VERDICT.get((score or {}).get("verdict", ""), "") for score in metric["scores"]]
        found[f"{name} {MARK_OF_DIRECTION[metric['better']]}  floors: {floors or 'none'}"] = _fitting(
            SCORE_COLUMNS, rows, width, styles
        )
    return found | {"costs": _fitting(COST_COLUMNS, cost_rows(result), width)}


def _fitting(
    head: Sequence[str], rows: Sequence[Sequence[str]], width: int, styles: Sequence[str] = ()
) -> RenderableType:
    columns = [
        Column(title, [row[at] for row in rows], LESS_NEEDED.get(title, 0), "left" if title in LEFT else "right")
        for at, title in enumerate(head)
    ]
    return fitting_table(columns, width=width, styles=styles)


def score_rows(result: Mapping[str, Any], name: str, *, encoding: str = "utf-8") -> list[list[str]]:
    """Return a row for each combination: its mean and what makes it differ from the base, in one metric."""
    rows = []
    for number, (combination, score) in enumerate(
        zip(result["combinations"], result["metrics"][name]["scores"], strict=True)
    ):
        if score is None:
            rows.append([combination["label"], NONE, "", "", "", "no run", ""])
            continue
        difference = ["", "", "the base" if number == 0 else "not comparable"]
        if "verdict" in score:
            between = _between(score["difference_ci95"], "+.2g")
            difference = [f"{score['difference']:+.2g}", between, marks(encoding)[score["verdict"]]]
        below = sum(floor["significantly_better"] == len(score["seeds"]) for floor in score["floors"].values())
        floors = f"{below} of {len(score['floors'])}"
        rows.append([combination["label"], short(score["value"]), _between(score["ci95"], ".2g"), *difference, floors])
    return rows


def floor_means(metric: Mapping[str, Any]) -> dict[str, float]:
    """Return mean of each floor over the combinations; but for those made of a model's own answers they are alike."""
    scores = [score for score in metric["scores"] if score]
    names = dict.fromkeys(name for score in scores for name in score["floors"])
    return {
        name: fmean(score["floors"][name]["value"] for score in scores if name in score["floors"]) for name in names
    }


def cost_rows(result: Mapping[str, Any]) -> list[list[str]]:
    """Return a row for each combination: how many seeds are done, the parameters that train, the time of a training."""
    rows = []
    for combination in result["combinations"]:
        parameters, seconds = combination["parameters"], combination["seconds"]
        rows.append(
            [
                combination["label"],
                f"{len(combination['seeds'])} of {len(result['seeds'])}",
                f"{parameters['trained']:,}" if parameters else NONE,
                NONE if seconds is None else clock(seconds),
            ]
        )
    return rows


def notes(result: Mapping[str, Any], *, encoding: str = "utf-8") -> list[str]:
    """Say how the tables are to be read, and what is not in them."""
    if not result["metrics"]:
        return ["no run is done yet, so there is nothing to compare"]
    said = [
        f"{result['split']} split: {result['stories']} stories, {result['windows']} windows, free-running",
        f"means over seeds; 95 %: over stories and seeds; differences: less the base, {result['base']}",
        legend("the base", by=f"p < 5 %, corrected for {result['comparisons']} comparisons (Holm)", encoding=encoding),
        "floors: their means over the combinations, and in the column, "
        "how many of them every seed is significantly better than",
    ]
    if len(result["seeds"]) == 1:
        said.append(
            "with one seed, no interval knows how much seeds differ: a difference may be significant by the seed alone"
        )
    elif any(len(combination["seeds"]) == 1 for combination in result["combinations"]):
        said.append("of a combination with one seed done, the interval does not know how much seeds differ")
    said += [f"caution: {caution}" for caution in result["cautions"]]
    said += [f"{name} is not compared: {reason}" for name, reason in result["not_compared"].items()]
    return said


def markdown(result: Mapping[str, Any]) -> str:
    """Write it as Markdown, for a pull request or a paper's draft."""
    lines = [f"# Ablation {plain(result['folder'])}", ""]
    for name, metric in result["metrics"].items():
        rows = [[plain(cells[0]), *cells[1:]] for cells in score_rows(result, name)]
        floors = [[f"floor {floor}", short(value), *[""] * 5] for floor, value in floor_means(metric).items()]
        lines += [
            f"## {plain(name)}",
            "",
            plain(metric["scale"]),
            "",
            *markdown_table(SCORE_COLUMNS, [*rows, *floors]),
            "",
        ]
    lines += [
        "## Costs",
        "",
        *markdown_table(COST_COLUMNS, [[plain(row[0]), *row[1:]] for row in cost_rows(result)]),
        "",
    ]
    lines += [f"- {plain(note)}" for note in notes(result)]
    lines += [f"- {plain(name)} has failed: {plain(reason)}" for name, reason in result["failed"].items()]
    if result["not_run"]:
        lines.append(f"- not run: {plain(', '.join(result['not_run']))}")
    return "\n".join([*lines, ""])


def _between(interval: Sequence[float] | None, form: str) -> str:
    return f"{interval[0]:{form}}..{interval[1]:{form}}" if interval else NONE
