"""The result of an ablation as tables for a terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from rich.console import RenderableType

from ..quantities import counted
from .formatting import MARK_OF_DIRECTION, MISSING, STYLE_OF_VERDICT, clock, legend, marks, short
from .markdown import plain
from .markdown import table as markdown_table
from .tables import Column, fitting_table

VERDICT, BETTER_THAN = "verdict", "better than"
WORDS = ("", VERDICT)
"""The titles of columns of words."""
SCORE_COLUMNS = ("", "mean", "95 %", "difference", "95 %", VERDICT, BETTER_THAN)
RANKS = {BETTER_THAN: 3, "difference": 2}
"""The columns that a narrow table leaves out, the highest first; the difference's interval implies the difference."""
COST_COLUMNS = ("", "seeds", "parameters", "time per run")


def tables(result: Mapping[str, Any], *, width: int, encoding: str = "utf-8") -> dict[str, RenderableType]:
    """Return the table of each metric and that of the costs, by title. `result` is the content of result.json."""
    found = {}
    for name, metric in result["metrics"].items():
        baselines = ", ".join(f"{baseline} {short(value)}" for baseline, value in baseline_means(metric).items())
        rows = score_rows(result, name, encoding=encoding)
        styles = [STYLE_OF_VERDICT.get((score or {}).get("verdict", ""), "") for score in metric["scores"]]
        title = f"{name} {MARK_OF_DIRECTION[metric['better']]}  baselines: {baselines or 'none'}"
        found[title] = _table(SCORE_COLUMNS, rows, width, styles)
    return found | {"costs": _table(COST_COLUMNS, cost_rows(result), width)}


def _table(
    head: Sequence[str], rows: Sequence[Sequence[str]], width: int, styles: Sequence[str] = ()
) -> RenderableType:
    columns = [
        Column(title, [row[at] for row in rows], RANKS.get(title, 0), "left" if title in WORDS else "right")
        for at, title in enumerate(head)
    ]
    return fitting_table(columns, width=width, styles=styles)


def score_rows(result: Mapping[str, Any], name: str, *, encoding: str = "utf-8") -> list[list[str]]:
    """Return a row for each combination: its mean in one metric, and its difference from the base."""
    rows = []
    for number, (combination, score) in enumerate(
        zip(result["combinations"], result["metrics"][name]["scores"], strict=True)
    ):
        if score is None:
            rows.append([combination["label"], MISSING, "", "", "", "no run", ""])
            continue
        difference = ["", "", "the base" if number == 0 else "not comparable"]
        if "verdict" in score:
            between = _between(score["difference_ci95"], "+.2g")
            difference = [f"{score['difference']:+.2g}", between, marks(encoding)[score["verdict"]]]
        beaten = sum(each["significantly_better"] == len(score["seeds"]) for each in score["baselines"].values())
        better_than = f"{beaten} of {len(score['baselines'])}"
        interval = _between(score["ci95"], ".2g")
        rows.append([combination["label"], short(score["value"]), interval, *difference, better_than])
    return rows


def baseline_means(metric: Mapping[str, Any]) -> dict[str, float]:
    """Return the mean of each baseline over the combinations; most baselines are the same for all."""
    scores = [score for score in metric["scores"] if score]
    names = dict.fromkeys(name for score in scores for name in score["baselines"])
    return {
        name: fmean(score["baselines"][name]["value"] for score in scores if name in score["baselines"])
        for name in names
    }


def cost_rows(result: Mapping[str, Any]) -> list[list[str]]:
    """Return a row for each combination: finished seeds, trained parameters, and the mean training time."""
    rows = []
    for combination in result["combinations"]:
        parameters, seconds = combination["parameters"], combination["seconds"]
        rows.append(
            [
                combination["label"],
                f"{len(combination['seeds'])} of {len(result['seeds'])}",
                f"{parameters['trained']:,}" if parameters else MISSING,
                MISSING if seconds is None else clock(seconds),
            ]
        )
    return rows


def notes(result: Mapping[str, Any], *, encoding: str = "utf-8") -> list[str]:
    """Return lines that explain the tables, and list what is missing from them."""
    if not result["metrics"]:
        return ["no run has finished yet, so there is nothing to compare"]
    split, differences, baselines, *seeds = facts_of(result)
    scores = [score for metric in result["metrics"].values() for score in metric["scores"] if score]
    tested = any(score.get("verdict") for score in scores)
    lines = [
        split,
        differences,
        *([legend("the base", by=holm_test(result), encoding=encoding)] if tested else []),
        f"{baselines}; {BETTER_THAN}: the baselines than which every seed is significantly better",
        *seeds,
    ]
    lines += [f"caution: {caution}" for caution in result["cautions"]]
    lines += [f"{name} is not compared: {reason}" for name, reason in result["not_compared"].items()]
    return lines


def holm_test(result: Mapping[str, Any]) -> str:
    """Return by which test the differences of an ablation are significant."""
    return f"p < 5 %, corrected for {result.get('comparisons', 0)} comparisons (Holm)"


def facts_of(result: Mapping[str, Any]) -> list[str]:
    """Return lines that explain the numbers, without the marks of the verdicts."""
    lines = [
        f"{result['split']} split: {counted(result['stories'], 'story')}, {counted(result['windows'], 'window')}, "
        "free-running",
        f"mean over seeds, with its 95 % interval over stories and seeds; difference from the base, {result['base']}",
        "baselines: mean over the combinations",
    ]
    if len(result["seeds"]) == 1:
        lines.append("with one seed, intervals do not cover the variation between seeds: it may explain a difference")
    elif any(len(combination["seeds"]) == 1 for combination in result["combinations"]):
        lines.append("where only one seed has finished, the interval does not cover the variation between seeds")
    return lines


def markdown(result: Mapping[str, Any]) -> str:
    """Return the result as Markdown, for a pull request or a paper's draft."""
    lines = [f"# Ablation {plain(result['folder'])}", ""]
    for name, metric in result["metrics"].items():
        rows = [[plain(cells[0]), *cells[1:]] for cells in score_rows(result, name)]
        rows += [[f"baseline {key}", short(value), *[""] * 5] for key, value in baseline_means(metric).items()]
        lines += [f"## {plain(name)}", "", plain(metric["scale"]), "", *markdown_table(SCORE_COLUMNS, rows), ""]
    costs = [[plain(row[0]), *row[1:]] for row in cost_rows(result)]
    lines += ["## Costs", "", *markdown_table(COST_COLUMNS, costs), ""]
    lines += [f"- {plain(note)}" for note in notes(result)]
    lines += [f"- {plain(name)} has failed: {plain(reason)}" for name, reason in result["failed"].items()]
    if result["not_run"]:
        lines.append(f"- not run: {plain(', '.join(result['not_run']))}")
    return "\n".join([*lines, ""])


def _between(interval: Sequence[float] | None, form: str) -> str:
    return f"{interval[0]:{form}}..{interval[1]:{form}}" if interval else MISSING
