"""The numbers behind the drawings of a page: where things stand on a line or in a frame. The template draws them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .verdicts import NO_VERDICT, short

MARGIN = 0.06
"""The share of a line that is kept free at both ends."""
FAR = 1.5
"""A ceiling that is farther from the others than this many times their spread is not drawn: it would flatten them."""

CURVE_WIDTH, CURVE_HEIGHT = 360, 200
CURVE_LEFT, CURVE_RIGHT, CURVE_TOP, CURVE_BOTTOM = 44, 12, 12, 26
MOST_TICKS = 6


@dataclass(frozen=True)
class Mark:
    """One row of a metric: the model, a floor or the ceiling."""

    name: str
    value: str
    at: float | None
    """In percent of the line, further right being better (or greater, where 1 is best); None where it is not drawn."""
    verdict: str = ""
    detail: str = ""


@dataclass(frozen=True)
class MetricFigure:
    """A metric as it is drawn: the model's score with its interval, beside its floors."""

    name: str
    scale: str
    signature: str
    value: str
    interval: str
    band: tuple[float, float] | None
    """The interval's ends, in percent of the line."""
    aim: float | None
    """Where 1 is, of a metric of which it is the best; else None."""
    marks: Sequence[Mark]
    components: Mapping[str, str]


def metric_figure(name: str, cell: Mapping[str, Any]) -> MetricFigure:
    """Lay out a metric's row. `cell` is what result.json has of it."""
    better, ceiling, interval = cell["better"], cell["ceiling"], cell["ci95"]
    floors = {name: floor for name, floor in cell["floors"].items() if "unavailable" not in floor}
    aims = [1.0] if better == "one" else []
    values = [cell["value"], *(interval or []), *(floor["value"] for floor in floors.values()), *aims]
    place = _placing(values, ceiling, better)
    marks = [Mark("model", short(cell["value"]), place(cell["value"]))]
    for floor_name, floor in floors.items():
        detail = ""
        if floor["ci95"]:
            low, high = map(short, floor["ci95"])
            detail = f"the model less it {short(floor['difference'])}, 95 % interval {low} to {high}"
        value, word = floor["value"], floor["verdict"] or NO_VERDICT
        marks.append(Mark(floor_name, short(value), place(value), word, detail))
    missing = {name: floor["unavailable"] for name, floor in cell["floors"].items() if name not in floors}
    marks += [Mark(name, "–", None, "", reason) for name, reason in missing.items()]
    if ceiling is not None:
        marks.append(Mark("ceiling", short(ceiling), place(ceiling)))
    return MetricFigure(
        name=name,
        scale=cell["scale"],
        signature=cell["signature"],
        value=short(cell["value"]),
        interval=" to ".join(map(short, interval)) if interval else "",
        band=_band(place, interval) if interval else None,
        aim=place(1.0) if aims else None,
        marks=marks,
        components={key: short(value) for key, value in cell["components"].items()},
    )


def _placing(values: Iterable[float | None], ceiling: float | None, better: str) -> Any:
    finite = [value for value in values if value is not None and math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    spread = high - low or abs(high) or 1.0
    if ceiling is not None and math.isfinite(ceiling) and max(low - ceiling, ceiling - high) <= FAR * spread:
        low, high = min(low, ceiling), max(high, ceiling)
    spread = high - low or abs(high) or 1.0
    low, high = low - MARGIN * spread, high + MARGIN * spread

    def place(value: float | None) -> float | None:
        if value is None or not low <= value <= high:
            return None
        share = (value - low) / (high - low)
        return round(100 * (1 - share if better == "lower" else share), 2)

    return place


def _band(place: Any, interval: Sequence[float]) -> tuple[float, float] | None:
    ends = [place(value) for value in interval]
    return None if None in ends else (min(ends), max(ends))


@dataclass(frozen=True)
class Curve:
    """One line of a chart."""

    name: str
    points: Sequence[tuple[float, float]]
    """In the chart's own units, (0, 0) at the upper left."""
    last: str

    @property
    def path(self) -> str:
        """The points as SVG has them."""
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in self.points)


@dataclass(frozen=True)
class Chart:
    """A loss over the epochs."""

    name: str
    curves: Sequence[Curve]
    ticks_x: Sequence[tuple[float, str]]
    ticks_y: Sequence[tuple[float, str]]
    best: tuple[float, float] | None = None
    """Where the validation loss is least."""


def loss_charts(history: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """Draw each loss of a history over its epochs, train and validation in one chart, the sum first."""
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

    def x(epoch: float) -> float:
        span = CURVE_WIDTH - CURVE_LEFT - CURVE_RIGHT
        return CURVE_LEFT + span * ((epoch - first) / (final - first) if final > first else 0.5)

    def y(value: float) -> float:
        return CURVE_TOP + (CURVE_HEIGHT - CURVE_TOP - CURVE_BOTTOM) * (high - value) / (high - low)

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
        ticks_y=[(y(low + i * step), f"{low + i * step:.6g}") for i in range(round((high - low) / step) + 1)],
        best=(x(best[0]), y(best[1])) if best and name == "loss" else None,
    )


def nice_step(spread: float) -> float:
    """Return a step of 1, 2 or 5 times a power of ten that parts a spread into four to ten."""
    power = math.pow(10, math.floor(math.log10(spread / 4)))
    return power * next(factor for factor in (5.0, 2.0, 1.0) if factor * power <= spread / 4)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
