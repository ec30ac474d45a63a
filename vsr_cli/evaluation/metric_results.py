"""What is written of an evaluation: a cell of the table for each metric, and a line for each window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..api import Metric, SpaceMetric
from ..data.prepared import Windows
from .baselines import Unavailable
from .bootstrap import resampled_scores, score_series
from .scoring import Statistics
from .series import Series, Truth
from .upper_bound import upper_bound_caution


def metric_cells(
    metrics: Mapping[str, Metric | SpaceMetric],
    statistics: Statistics,
    stories: Sequence[str],
    *,
    series: Mapping[str, Series | Unavailable],
    signature: str,
) -> dict[str, dict[str, Any]]:
    """Score each metric beside its baselines, with intervals where there are enough stories (`stories`: (W,))."""
    resampled = resampled_scores(metrics, statistics, stories)
    lacking = {each: {"unavailable": what.reason} for each, what in series.items() if isinstance(what, Unavailable)}
    cells = {}
    for name, metric in metrics.items():
        cell = score_series(name, metric, statistics[name], resampled.get(name))
        cell["caution"] = upper_bound_caution(name, metric, cell)
        cell["signature"] = f"metric:{name}|{metric.signature}|{signature}"
        baselines = {**cell["baselines"], **lacking}
        order = [*(each for each in series if each in baselines), *(each for each in baselines if each not in series)]
        cells[name] = cell | {"baselines": {each: baselines[each] for each in order}}
    return cells


def prediction_lines(
    windows: Windows,
    answers: Series,
    truth: Truth,
    *,
    metrics: Mapping[str, Metric | SpaceMetric],
    statistics: Statistics,
) -> list[dict[str, Any]]:
    """Return the scored windows as lines of predictions.jsonl have them."""
    scores = {
        name: [metric.combine(statistics[name]["model"][row : row + 1])[name] for row in range(len(windows))]
        for name, metric in metrics.items()
    }
    return [
        {
            "story": story,
            "start": start,
            "context": list(range(start + 1, start + windows.text_rows.shape[1])),
            "prediction": answers.texts[row],
            "reference": truth.references[row],
            "scores": {name: values[row] for name, values in scores.items()},
        }
        for row, (story, start) in enumerate(zip(windows.stories, windows.starts.tolist(), strict=True))
    ]
