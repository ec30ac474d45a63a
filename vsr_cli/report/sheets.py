"""Results as neutral tables, from which `sheet_formats.py` makes Markdown, LaTeX and CSV."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..quantities import counted
from ..runs.results import Verdict
from ..runs.summary import RunSummary, differing_parts
from .ablation import baseline_means, facts_of, holm_test
from .formatting import MARK_OF_DIRECTION, MISSING, TEST, best_of, clock, column_format, loss_text

SCORES_ACROSS = 5
"""Columns of scores in a table; more metrics continue in another one."""
LEFT_OUT = "left_out"
Format = Callable[[float | None], str]


@dataclass(frozen=True)
class Entry:
    """A cell with a score: what is shown, its interval, a verdict, and whether it is emphasized."""

    text: str
    interval: str = ""
    verdict: Verdict | None = None
    strong: bool = False


Value = str | Entry


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A table with its caption and footnotes, and the same in full precision, a record for each number or row."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[Value]]
    words: int = 1
    """How many of the first columns hold words; all others hold numbers."""
    rules: Sequence[int] = ()
    """The rows above which a line is drawn."""
    across: int = 0
    """The most columns of numbers in one table; 0: all."""
    legend: tuple[str, str, str] | None = None
    """What the marks of verdicts mean: words before them, against what, and by which test; None without verdicts."""
    notes: Sequence[str] = ()
    cautions: Sequence[str] = ()
    records: Sequence[Mapping[str, Any]] = field(default_factory=list)


def evaluation_sheet(result: Mapping[str, Any], *, only: Sequence[str] | None = None) -> Sheet:
    """Return an evaluation: rows are the model, its baselines and the upper bound, columns the metrics, or `only` some.

    A stored evaluation has all metrics that were ever computed for it.
    """
    metrics = {name: cell for name, cell in result["metrics"].items() if only is None or name in only}
    available = {name: cell for name, cell in metrics.items() if "unavailable" not in cell}
    baselines = list(dict.fromkeys(name for cell in available.values() for name in cell["baselines"]))
    rows: list[list[Value]] = [["model"], *([name] for name in baselines)]
    for cell in available.values():
        shown, others = column_format(cell["value"]), [cell["baselines"].get(name) or {} for name in baselines]
        best = best_of([cell["value"], *(each.get("value") for each in others)], cell["better"], shown)
        rows[0].append(_scored(cell, shown, strong=0 in best))
        for number, (row, each) in enumerate(zip(rows[1:], others, strict=True), start=1):
            row.append(_baseline(each, shown, strong=number in best))
    bounds = [column_format(cell["value"])(cell["upper_bound"]) for cell in available.values()]
    bounded = any(bound != MISSING for bound in bounds)
    rows += [["upper bound", *bounds]] if bounded else []
    decoding = (result.get("decoding") or {}).get("method")
    counts = f"{counted(result['windows'], 'window')} of {counted(result['stories'], 'story')}"
    title = f"{Path(result['run']).name}: {result['split']} split, {counts}"
    cautions = [*result["cautions"]]
    cautions += [f"{name} is unavailable: {reason}" for name, reason in _unavailable(metrics).items()]
    cautions += [cell["caution"] for cell in available.values() if cell.get("caution")]
    if count := result["leaks"].get(LEFT_OUT):
        cautions.append(f"left out, since the target leaks: {counted(count, 'window')}")
    about = {key: result[key] for key in ("split", "stories", "windows")}
    return Sheet(
        title=f"{title}, {decoding} decoding" if decoding else title,
        head=["", *(f"{name} {MARK_OF_DIRECTION[cell['better']]}" for name, cell in available.items())],
        rows=rows,
        rules=[1, *([len(baselines) + 1] if baselines and bounded else [])],
        across=SCORES_ACROSS,
        legend=("beside a baseline, the model is", "it", TEST) if has_verdict(rows) else None,
        notes=[*_intervals(rows), *(["upper bound: the reference scored against itself"] if bounded else [])],
        cautions=cautions,
        records=[{**record, **about} for name, cell in available.items() for record in _records(name, cell)],
    )


def comparison_sheet(result: Mapping[str, Any], names: Sequence[str]) -> Sheet:
    """Return a comparison: rows are the runs and the baselines that they share, columns the metrics."""
    metrics = result["metrics"]
    rows = _scored_rows(names, metrics, {metric: cell["baselines"] for metric, cell in metrics.items()})
    records = [
        {"metric": metric, "system": name, "kind": "run", **_numbers(score), "better": cell["better"]}
        for metric, cell in metrics.items()
        for name, score in zip(names, cell["scores"], strict=True)
    ]
    records += [
        {"metric": metric, "system": name, "kind": "baseline", "value": value, "better": cell["better"]}
        for metric, cell in metrics.items()
        for name, value in cell["baselines"].items()
    ]
    about = {key: result[key] for key in ("split", "stories", "windows")}
    counts = f"{counted(result['windows'], 'window')} of {counted(result['stories'], 'story')}"
    return Sheet(
        title=f"{result['split']} split: {counts}",
        head=_head(metrics),
        rows=rows,
        rules=[len(names)] if len(rows) > len(names) else [],
        across=SCORES_ACROSS,
        legend=("beside a run, it is", names[0], TEST) if has_verdict(rows) else None,
        notes=_intervals(rows),
        cautions=[*result["cautions"], *_not_compared(result)],
        records=[{**record, **about} for record in records],
    )


def ablation_sheet(result: Mapping[str, Any]) -> Sheet:
    """Return an ablation: rows are the combinations and baselines, columns the metrics and the costs."""
    metrics, combinations = result["metrics"], result["combinations"]
    labels = [combination["label"] for combination in combinations]
    means = {metric: baseline_means(cell) for metric, cell in metrics.items()}
    rows = _scored_rows(labels, metrics, means)
    for row, of in zip(rows, combinations, strict=False):
        row += [f"{len(of['seeds'])}", _parameters(of), MISSING if of["seconds"] is None else clock(of["seconds"])]
    for row in rows[len(labels) :]:
        row += ["", "", ""]
    records = [
        {
            "metric": metric,
            "combination": of["label"],
            **{f"setting {key}": value for key, value in of["values"].items()},
            **_numbers(score or {}),
            "seeds": len(of["seeds"]),
            "better": cell["better"],
            "parameters": (of["parameters"] or {}).get("trained"),
            "seconds": of["seconds"],
        }
        for metric, cell in metrics.items()
        for of, score in zip(combinations, cell["scores"], strict=True)
    ]
    records += [
        {"metric": metric, "combination": f"baseline {name}", "value": value}
        for metric, of in means.items()
        for name, value in of.items()
    ]
    failed = [f"{name} has failed: {reason}" for name, reason in result["failed"].items()]
    left = [f"not run: {', '.join(result['not_run'])}"] if result["not_run"] else []
    return Sheet(
        title=f"Ablation {result['folder']}",
        head=[*_head(metrics), "seeds", "parameters", "time per run"],
        rows=rows,
        rules=[len(labels)] if len(rows) > len(labels) else [],
        legend=("beside a combination, it is", f"the base, {result['base']}", holm_test(result))
        if has_verdict(rows)
        else None,
        notes=facts_of(result) if metrics else ["no run has finished yet, so there is nothing to compare"],
        cautions=[*result["cautions"], *_not_compared(result), *failed, *left],
        records=records,
    )


def runs_sheet(runs: Sequence[RunSummary]) -> Sheet:
    """Return a list of runs, with the components in which they differ."""
    parts = differing_parts(runs)
    rows: list[list[Value]] = [
        [
            run.folder.name,
            run.status,
            run.started[:16].replace("T", " "),
            Path(run.data).name,
            *(run.parts.get(part, "") for part in parts),
            f"{run.epochs_done}/{run.epochs_wanted}" if run.is_readable else "",
            loss_text(run.best_validation),
            clock(run.seconds) if run.is_readable else "",
        ]
        for run in runs
    ]
    names = [part.replace("_", " ") for part in parts]
    return Sheet(
        title="Runs",
        head=["run", "status", "started", "data", *names, "epochs", "best loss", "time"],
        rows=rows,
        words=4 + len(parts),
        cautions=[f"{run.folder.name}: {run.problem}" for run in runs if run.problem],
        records=[flat(run.record()) for run in runs],
    )


def flat(record: Mapping[str, Any], at: str = "") -> dict[str, Any]:
    """Return a record without nesting: {"a": {"b": 1}} becomes {"a.b": 1}."""
    found: dict[str, Any] = {}
    for key, value in record.items():
        found |= flat(value, f"{at}{key}.") if isinstance(value, Mapping) else {f"{at}{key}": value}
    return found


def _scored_rows(
    names: Sequence[str], metrics: Mapping[str, Any], baselines: Mapping[str, Mapping[str, float]]
) -> list[list[Value]]:
    """Return a row for each system, then for each baseline, with its score in each metric, the best emphasized."""
    labels = list(dict.fromkeys(name for of in baselines.values() for name in of))
    rows: list[list[Value]] = [[name] for name in [*names, *labels]]
    for metric, cell in metrics.items():
        shown, others = _format_of(cell), [baselines[metric].get(label) for label in labels]
        best = best_of([*(score and score["value"] for score in cell["scores"]), *others], cell["better"], shown)
        values = [_scored(score, shown, strong=at in best) for at, score in enumerate(cell["scores"])]
        values += [
            Entry(shown(value), strong=True) if at in best else shown(value)
            for at, value in enumerate(others, start=len(names))
        ]
        for row, value in zip(rows, values, strict=True):
            row.append(value)
    return rows


def _format_of(cell: Mapping[str, Any]) -> Format:
    """Return the format of a metric's scores, which are those of several systems."""
    return column_format(next((score["value"] for score in cell["scores"] if score), None))


def _scored(score: Mapping[str, Any] | None, shown: Format, *, strong: bool) -> Value:
    if score is None:
        return MISSING
    interval = f"[{', '.join(map(shown, score['ci95']))}]" if score["ci95"] else ""
    return Entry(shown(score["value"]), interval, score.get("verdict"), strong)


def _baseline(baseline: Mapping[str, Any], shown: Format, *, strong: bool) -> Value:
    if "value" not in baseline:
        return MISSING
    return Entry(shown(baseline["value"]), verdict=baseline["verdict"], strong=strong)


def has_verdict(rows: Iterable[Sequence[Value]]) -> bool:
    """Return whether a cell of some rows has a verdict, whose mark needs a legend."""
    return any(isinstance(value, Entry) and value.verdict is not None for row in rows for value in row)


def has_interval(rows: Iterable[Sequence[Value]]) -> bool:
    """Return whether a cell of some rows has an interval."""
    return any(isinstance(value, Entry) and value.interval for row in rows for value in row)


def _intervals(rows: Iterable[Sequence[Value]]) -> list[str]:
    return ["in brackets: 95 % interval over stories"] if has_interval(rows) else []


def _head(metrics: Mapping[str, Any]) -> list[str]:
    return ["", *(f"{name} {MARK_OF_DIRECTION[cell['better']]}" for name, cell in metrics.items())]


def _records(metric: str, cell: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    about = {"better": cell["better"], "scale": cell["scale"]}
    low, high = cell["ci95"] or (None, None)
    yield {"metric": metric, "system": "model", "value": cell["value"], "ci95_low": low, "ci95_high": high, **about}
    for name, baseline in cell["baselines"].items():
        if "unavailable" not in baseline:
            low, high = baseline["ci95"] or (None, None)
            difference = {"difference": baseline["difference"], "difference_low": low, "difference_high": high}
            shown = {"metric": metric, "system": name, "value": baseline["value"], **difference}
            yield {**shown, "verdict": baseline["verdict"], **about}
    if cell["upper_bound"] is not None:
        yield {"metric": metric, "system": "upper bound", "value": cell["upper_bound"], **about}
    for name, value in cell["components"].items():
        yield {"metric": name, "system": "model", "value": value}


def _numbers(score: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers of a score, with two keys for each interval."""
    found = {"value": score.get("value")}
    for key, name in (("ci95", "ci95"), ("difference_ci95", "difference")):
        low, high = score.get(key) or (None, None)
        if name == "difference":
            found["difference"] = score.get("difference")
        found |= {f"{name}_low": low, f"{name}_high": high}
    return found | {"verdict": score.get("verdict")}


def _parameters(combination: Mapping[str, Any]) -> str:
    return f"{combination['parameters']['trained']:,}" if combination["parameters"] else MISSING


def _unavailable(metrics: Mapping[str, Any]) -> dict[str, str]:
    return {name: cell["unavailable"] for name, cell in metrics.items() if "unavailable" in cell}


def _not_compared(result: Mapping[str, Any]) -> list[str]:
    return [f"{name} is not compared: {reason}" for name, reason in result["not_compared"].items()]
