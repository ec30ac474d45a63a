"""The HTML page of an evaluation: one self-contained file with scores, losses and storyboards."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..data.prepared import Prepared
from ..escaping import visible_lines
from ..files.atomic import write_text
from ..runs.results import Evaluated
from .formatting import MISSING, NOT_TESTED, short
from .html_gallery import gallery
from .provenance import LEFT_OUT, described_baselines, how_predicted, leaks_found, provenance, teacher_forced_numbers

TEMPLATES = "templates"
PAGE, STYLE, SCRIPT = "report.html.j2", "report.css", "report.js"

MARGIN = 0.06
"""The fraction of a score's axis that is empty at both ends."""
FAR = 1.5
"""An upper bound that is farther from the scores than this many times their spread is not drawn: it would press them
together."""
MODEL, UPPER_BOUND = "model", "upper bound"

CHART_WIDTH, CHART_HEIGHT = 360, 200
LEFT, RIGHT, TOP, BOTTOM = 24, 12, 12, 26
"""The margins of a chart in its own units, the left one without the labels of the axis."""
LETTER = 7.4
"""The width of a digit in a label, in the chart's units."""
MOST_TICKS, MOST_DECIMALS = 6, 6


def write_page(evaluated: Evaluated, prepared: Prepared, path: Path, *, most: int) -> None:
    """Write the page, with at most `most` storyboards. Raises VsrError if the data is not what was scored."""
    facts = provenance(evaluated.run, evaluated.result, manifest=prepared.manifest, history=evaluated.history())
    write_text(path, render_page(evaluated, gallery(evaluated, prepared, most=most), facts))


def render_page(evaluated: Evaluated, storyboards: Mapping[str, Any], facts: Mapping[str, Mapping[str, str]]) -> str:
    """Return the page's HTML; `facts` are those of `provenance`.

    All texts from the evaluation are escaped, and only the page's own script may run.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # Always: a template's name must not decide whether a story's text can write HTML.
    environment = Environment(
        loader=PackageLoader("vsr_cli.report", TEMPLATES),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    result = evaluated.result
    script = _read_template(SCRIPT)
    return environment.get_template(PAGE).render(
        name=evaluated.name,
        result=result,
        figures=[metric_figure(name, cell) for name, cell in evaluated.available.items()],
        unavailable={name: cell["unavailable"] for name, cell in result["metrics"].items() if "unavailable" in cell},
        metric_cautions=[cell["caution"] for cell in result["metrics"].values() if cell.get("caution")],
        how=how_predicted(evaluated),
        baselines=described_baselines(evaluated),
        leaks=leaks_found(result["leaks"]),
        left_out=result["leaks"].get(LEFT_OUT),
        teacher_forced=teacher_forced_numbers(result),
        charts=loss_charts(evaluated.history()),
        facts=facts,
        storyboards=_shown(storyboards),
        style=_read_template(STYLE),
        script=script,
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _shown(value: Any) -> Any:
    """Escape the control characters in all texts of a value."""
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return visible_lines(value)
    if isinstance(value, Mapping):
        return {_shown(key): _shown(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(item) for item in value]
    return value


def _read_template(name: str) -> str:
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


@dataclass(frozen=True)
class Curve:
    """One line of a chart."""

    name: str
    points: Sequence[tuple[float, float]]
    """In the chart's units, (0, 0) at the upper left."""
    last: str

    @property
    def path(self) -> str:
        """The points as SVG writes them."""
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in self.points)


@dataclass(frozen=True)
class Chart:
    """A loss over the epochs."""

    name: str
    curves: Sequence[Curve]
    ticks_x: Sequence[tuple[float, str]]
    ticks_y: Sequence[tuple[float, str]]
    left: float
    """Where the plot begins, to the right of the labels."""
    best: tuple[float, float] | None = None
    """The lowest validation loss."""
    width, height = CHART_WIDTH, CHART_HEIGHT
    right, bottom = CHART_WIDTH - RIGHT, CHART_HEIGHT - BOTTOM


def loss_charts(history: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """Return a chart of each loss over the epochs, with train and validation curves, the weighted sum first."""
    names = list(dict.fromkeys(name for row in history for part in ("train", "validation") for name in row[part]))
    charts = (_chart(name, history) for name in sorted(names, key=lambda name: name != "loss"))
    return [chart for chart in charts if chart]


def _chart(name: str, history: Sequence[Mapping[str, Any]]) -> Chart | None:
    series = {
        part: [(row["epoch"], row[part][name]) for row in history if _is_number(row[part].get(name))]
        for part in ("train", "validation")
    }
    values: list[float] = [value for points in series.values() for _, value in points]
    if not values:
        return None
    first, final = history[0]["epoch"], history[-1]["epoch"]
    step = nice_step(max(values) - min(values) or abs(max(values)) or 1.0)
    low, high = math.floor(min(values) / step) * step, math.ceil(max(values) / step) * step
    high = high if high > low else low + step
    ticks = [low + i * step for i in range(round((high - low) / step) + 1)]
    decimals = max(0, -math.floor(math.log10(step)))
    labels = [f"{tick:.{decimals}f}" if decimals <= MOST_DECIMALS else f"{tick:.3g}" for tick in ticks]
    left = LEFT + LETTER * max(map(len, labels))

    def x(epoch: float) -> float:
        return left + (CHART_WIDTH - left - RIGHT) * ((epoch - first) / (final - first) if final > first else 0.5)

    def y(value: float) -> float:
        return TOP + (CHART_HEIGHT - TOP - BOTTOM) * (high - value) / (high - low)

    curves = [
        Curve(part, [(x(epoch), y(value)) for epoch, value in points], short(points[-1][1]))
        for part, points in series.items()
        if points
    ]
    best = min(series["validation"], key=lambda point: point[1], default=None)
    every = max(1, math.ceil((final - first) / MOST_TICKS))
    return Chart(
        name=name,
        curves=curves,
        ticks_x=[(x(epoch), str(epoch)) for epoch in range(first, final + 1, every)],
        ticks_y=[(y(tick), label) for tick, label in zip(ticks, labels, strict=True)],
        left=left,
        best=(x(best[0]), y(best[1])) if best and name == "loss" else None,
    )


def nice_step(spread: float) -> float:
    """Return a step of 1, 2 or 5 times a power of ten that divides a spread into four to ten."""
    power = math.pow(10, math.floor(math.log10(spread / 4)))
    return power * next(factor for factor in (5.0, 2.0, 1.0) if factor * power <= spread / 4)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
