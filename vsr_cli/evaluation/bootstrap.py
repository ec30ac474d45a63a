"""How sure a score is: intervals from resampling the stories that it was measured on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..api import Metric, SpaceMetric
from ..api.metrics import UNLIMITED, score_range
from .verdicts import LEAST_STORIES, verdict

RESAMPLES = 1000
SEED = 0
LEVEL = 0.95

Better = Literal["higher", "lower", "one"]
Series = Mapping[str, NDArray[np.float64]]
"""Statistics (W, S) of the model, of each baseline and of the ceiling, by name."""


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
    """Return each headline score of each series on each resample, (resamples,): the same stories for all, so paired.

    Nothing is given of a metric that cannot be resampled, and nothing at all where there are too few stories.
    """
    metrics = {name: metric for name, metric in metrics.items() if getattr(metric, "resampled", True)}
    if len(set(stories)) < LEAST_STORIES:
        return {}
    scores = {
        name: {series: np.empty(resamples) for series in statistics[name] if series != "upper_bound"}
        for name in metrics
    }
    for draw, rows in enumerate(resampled_windows(stories, resamples=resamples, seed=seed)):
        for name, metric in metrics.items():
            for series, values in scores[name].items():
                values[draw] = metric.combine(statistics[name][series][rows])[name]
    return scores


def interval(values: NDArray[np.float64], within: tuple[float, float] = UNLIMITED) -> list[float] | None:
    """Return the interval that holds the middle 95 % of some values, and no number that is not `within` a range.

    None where not every value is a number: an interval of the others would be one of other stories.
    """
    if not np.isfinite(values).all():
        return None
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).clip(*within)
    return [float(low), float(high)]


def difference_range(within: tuple[float, float]) -> tuple[float, float]:
    """Return the range of the difference between two scores of a range."""
    low, high = within
    return low - high, high - low


def compared(ours: NDArray[np.float64], theirs: NDArray[np.float64], metric: Metric | SpaceMetric) -> dict[str, Any]:
    """Compare two scores, each on the same resamples: the interval of their difference, and the verdict on ours."""
    lead = interval(goodness(ours, metric.better) - goodness(theirs, metric.better))
    return {"ci95": interval(ours - theirs, difference_range(score_range(metric))), "verdict": verdict(lead)}


def score_series(
    name: str,
    metric: Metric | SpaceMetric,
    statistics: Series,
    resampled: Series | None,
) -> dict[str, Any]:
    """Return the scores of one metric: the model's, beside each baseline and the verdict on it, and the ceiling.

    `resampled` holds each series' headline on each resample; None: there are neither intervals nor verdicts.
    """
    (headline, value), *components = metric.combine(statistics["model"]).items()
    assert headline == name, f"the first score of {name} is called {headline}"
    baselines: dict[str, dict[str, Any]] = {}
    for baseline in statistics:
        if baseline in ("model", "upper_bound"):
            continue
        baseline_value = metric.combine(statistics[baseline])[name]
        baselines[baseline] = {
            "value": baseline_value,
            "difference": value - baseline_value,
            "ci95": None,
            "verdict": None,
        }
        if resampled is not None:
            baselines[baseline] |= compared(resampled["model"], resampled[baseline], metric)
    return {
        "value": value,
        "ci95": None if resampled is None else interval(resampled["model"], score_range(metric)),
        "scale": metric.scale,
        "better": metric.better,
        "components": {score: number if np.isfinite(number) else None for score, number in components},
        "baselines": baselines,
        "upper_bound": metric.combine(statistics["upper_bound"])[name] if "upper_bound" in statistics else None,
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
