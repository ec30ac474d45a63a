"""The HTML page of an evaluation: one self-contained file with scores, losses and storyboards."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.prepared import Prepared
from ..escaping import visible_lines
from ..files.atomic import write_text
from ..quantities import counted
from ..runs.history import best_row, watched_loss
from ..runs.results import Evaluated
from .charts import curves_figure, figure_bytes
from .formatting import MISSING, NOT_TESTED, short
from .html_alternatives import alternatives_of
from .html_gallery import gallery
from .provenance import (
    copied_shares,
    described_baselines,
    how_predicted,
    leaks_line,
    provenance,
    teacher_forced_numbers,
)

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = "templates"
PAGE, STYLE, SCRIPT = "report.html.j2", "report.css", "report.js"

MARGIN = 0.06
"""The fraction of a score's axis that is empty at both ends."""
FAR = 1.5
"""An upper bound that is farther from the scores than this many times their spread is not drawn: it would press them
together."""
MODEL, UPPER_BOUND = "model", "upper bound"


def write_page(evaluated: Evaluated, prepared: Prepared, path: Path, *, most: int) -> None:
    """Write the page, with at most `most` storyboards. Raises VsrError if the data is not what was scored."""
    facts = provenance(evaluated.run, evaluated.result, manifest=prepared.manifest, history=evaluated.history())
    storyboards, alternatives = gallery(evaluated, prepared, most=most), alternatives_of(evaluated.run)
    write_text(path, render_page(evaluated, storyboards, facts, alternatives=alternatives))


def render_page(
    evaluated: Evaluated,
    storyboards: Mapping[str, Any],
    facts: Mapping[str, Mapping[str, str]],
    *,
    alternatives: Sequence[Mapping[str, Any]],
) -> str:
    """Return the page's HTML; `facts` are those of `provenance`, `alternatives` those of `alternatives_of`.

    All texts from the evaluation are escaped, and only the page's own script may run.
    """
    result = evaluated.result
    script = read_template(SCRIPT)
    return (
        environment()
        .get_template(PAGE)
        .render(
            name=evaluated.name,
            result=result,
            figures=[metric_figure(name, cell) for name, cell in evaluated.available.items()],
            unavailable={
                name: cell["unavailable"] for name, cell in result["metrics"].items() if "unavailable" in cell
            },
            metric_cautions=[cell["caution"] for cell in result["metrics"].values() if cell.get("caution")],
            how=how_predicted(evaluated),
            baselines=described_baselines(evaluated),
            scored=f"{counted(result['windows'], 'window')} of {counted(result['stories'], 'story')}",
            leaks=leaks_line(result["leaks"]),
            copied=copied_shares(result),
            teacher_forced=teacher_forced_numbers(result),
            curves=_curves(evaluated),
            facts=facts,
            storyboards=shown(storyboards),
            alternatives=alternatives,
            style=read_template(STYLE),
            script=script,
            script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
    )


def environment() -> Environment:
    """Return the environment of the pages' templates, in which every text is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # Always: a template's name must not decide whether a story's text can write HTML.
    return Environment(
        loader=PackageLoader("vsr_cli.report", TEMPLATES),
        autoescape=True,
        finalize=shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _curves(evaluated: Evaluated) -> str | None:
    """Return the chart of the run's losses as PNG in base64; None without a history."""
    rows = evaluated.history()
    if not rows:
        return None
    best = best_row(rows, watched_loss(evaluated.configuration() or {}))
    return base64.b64encode(figure_bytes(curves_figure(rows, title="by epoch", best=best))).decode()


def shown(value: Any) -> Any:
    """Escape the control characters in all texts of a value."""
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return visible_lines(value)
    if isinstance(value, Mapping):
        return {shown(key): shown(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [shown(item) for item in value]
    return value


def read_template(name: str) -> str:
    """Return the content of a file beside the templates."""
    return (files("vsr_cli.report") / TEMPLATES / name).read_text(encoding="utf-8")


@dataclass(frozen=True)
class Mark:
    """One row of a metric: the model, a baseline or the upper bound."""

    name: str
    value: str
    at: float | None
    """Position in percent of the axis, further right being better (or greater, where 1 is best); None: not drawn."""
    verdict: str = ""
    detail: str = ""


@dataclass(frozen=True)
class MetricFigure:
    """A metric as it is drawn: the model's score with its interval, beside the baselines."""

    name: str
    scale: str
    signature: str
    value: str
    interval: str
    band: tuple[float, float] | None
    """The ends of the interval, in percent of the axis."""
    aim: float | None
    """The position of 1, for a metric of which that is the best value."""
    marks: Sequence[Mark]
    components: Mapping[str, str]


def metric_figure(name: str, cell: Mapping[str, Any]) -> MetricFigure:
    """Lay out a metric, given its entry in result.json."""
    better, upper_bound, interval = cell["better"], cell["upper_bound"], cell["ci95"]
    baselines = {name: baseline for name, baseline in cell["baselines"].items() if "unavailable" not in baseline}
    aims = [1.0] if better == "one" else []
    values = [cell["value"], *(interval or []), *(baseline["value"] for baseline in baselines.values()), *aims]
    position = _positions(values, upper_bound, better)
    marks = [Mark(MODEL, short(cell["value"]), position(cell["value"]))]
    for baseline_name, baseline in cell["baselines"].items():
        if "unavailable" in baseline:
            continue
        detail = ""
        if baseline["ci95"]:
            low, high = map(short, baseline["ci95"])
            detail = f"model minus baseline {short(baseline['difference'])}, 95 % interval {low} to {high}"
        value, verdict = baseline["value"], baseline["verdict"] or NOT_TESTED
        marks.append(Mark(baseline_name, short(value), position(value), verdict, detail))
    missing = {name: baseline["unavailable"] for name, baseline in cell["baselines"].items() if name not in baselines}
    marks += [Mark(name, MISSING, None, "", reason) for name, reason in missing.items()]
    if upper_bound is not None:
        marks.append(Mark(UPPER_BOUND, short(upper_bound), position(upper_bound)))
    return MetricFigure(
        name=name,
        scale=cell["scale"],
        signature=cell["signature"],
        value=short(cell["value"]),
        interval=" to ".join(map(short, interval)) if interval else "",
        band=_band(position, interval) if interval else None,
        aim=position(1.0) if aims else None,
        marks=marks,
        components={key: short(value) for key, value in cell["components"].items()},
    )


Position = Callable[[float | None], float | None]


def _positions(values: Iterable[float | None], upper_bound: float | None, better: str) -> Position:
    """Return the function from a score to its position on the axis, in percent."""
    finite = [value for value in values if value is not None and math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    spread = high - low or abs(high) or 1.0
    if upper_bound is not None and max(low - upper_bound, upper_bound - high) <= FAR * spread:
        low, high = min(low, upper_bound), max(high, upper_bound)
    spread = high - low or abs(high) or 1.0
    low, high = low - MARGIN * spread, high + MARGIN * spread

    def position(value: float | None) -> float | None:
        if value is None or not low <= value <= high:
            return None
        share = (value - low) / (high - low)
        return round(100 * (1 - share if better == "lower" else share), 2)

    return position


def _band(position: Position, interval: Sequence[float]) -> tuple[float, float] | None:
    ends = [end for end in map(position, interval) if end is not None]
    return (min(ends), max(ends)) if len(ends) == len(interval) else None
