"""How sure a score is: intervals from resampling the stories that it was measured on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..api import Metric, SpaceMetric

RESAMPLES = 1000
SEED = 0
LEVEL = 0.95
LEAST_STORIES = 6
"""Below this no interval is given: with five stories, even a sign that all share has a chance of 2/2^5 > 5 %."""

Better = Literal["higher", "lower", "one"]
Series = Mapping[str, NDArray[np.float64]]
"""Statistics (W, S) of the model, of each floor and of the ceiling, by name."""


def resampled_windows(
    stories: Sequence[str], *, resamples: int = RESAMPLES, seed: int = SEED
) -> Iterator[NDArray[np.int64]]:
    """Yield the rows of the windows of as many stories as there are, drawn with replacement, `resamples` times.

    Stories are drawn and not windows, since the windows of a story are alike.
    """
    number = np.unique(np.asarray(stories, dtype=np.str_), return_inverse=True)[1]  # (W,)
    order = np.argsort(number, kind="stable")
    counts = np.bincount(number)
    first = np.cumsum(counts) - counts
    random = np.random.default_rng(seed)
    for _ in range(resamples):
        drawn = random.integers(len(counts), size=len(counts))
        lengths = counts[drawn]
        before = np.cumsum(lengths) - lengths
        yield order[np.repeat(first[drawn] - before, lengths) + np.arange(lengths.sum())]


def resampled_scores(
    metrics: Mapping[str, Metric | SpaceMetric],
    statistics: Mapping[str, Series],
    stories: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Give each headline score of each series on each resample, (resamples,): the same stories for all, so paired.

    Nothing is given of a metric that cannot be resampled, and nothing at all where there are too few stories.
    """
    metrics = {name: metric for name, metric in metrics.items() if getattr(metric, "resampled", True)}
    if len(set(stories)) < LEAST_STORIES:
        return {}
    scores = {
        name: {series: np.empty(resamples) for series in statistics[name] if series != "ceiling"} for name in metrics
    }
    for draw, rows in enumerate(resampled_windows(stories, resamples=resamples, seed=seed)):
        for name, metric in metrics.items():
            for series, values in scores[name].items():
                values[draw] = metric.combine(statistics[name][series][rows])[name]
    return scores


def interval(values: NDArray[np.float64]) -> list[float]:
    """Give the interval that holds the middle 95 % of some values."""
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return [float(low), float(high)]


def score_series(
    name: str,
    metric: Metric | SpaceMetric,
    statistics: Series,
    resampled: Series | None,
) -> dict[str, Any]:
    """Give the scores of one metric: the model's, beside each floor and whether it beats it, and the ceiling.

    `resampled` holds each series' headline on each resample (None: there are no intervals, and nothing is said to be
    beaten). A floor is beaten if the interval of how much better the model is lies above 0.
    """
    (headline, value), *further = metric.combine(statistics["model"]).items()
    assert headline == name, f"the first score of {name} is called {headline}"
    floors: dict[str, dict[str, Any]] = {}
    for floor in statistics:
        if floor in ("model", "ceiling"):
            continue
        floor_value = metric.combine(statistics[floor])[name]
        floors[floor] = {"value": floor_value, "difference": value - floor_value, "ci95": None, "beats": False}
        if resampled is not None:
            model, copied = resampled["model"], resampled[floor]
            lead = goodness(model, metric.better) - goodness(copied, metric.better)
            floors[floor] |= {"ci95": interval(model - copied), "beats": interval(lead)[0] > 0}
    return {
        "value": value,
        "ci95": None if resampled is None else interval(resampled["model"]),
        "scale": metric.scale,
        "better": metric.better,
        "further": {score: number if np.isfinite(number) else None for score, number in further},
        "floors": floors,
        "ceiling": metric.combine(statistics["ceiling"])[name] if "ceiling" in statistics else None,
    }


def goodness(values: NDArray[np.float64], better: Better) -> NDArray[np.float64]:
    """Turn scores into numbers of which the higher is the better."""
    match better:
        case "higher":
            return values
        case "lower":
            return -values
        case "one":
            return -np.abs(values - 1)
