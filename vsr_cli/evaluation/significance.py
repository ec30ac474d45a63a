"""Statistical significance: bootstrap intervals over stories, verdicts, and comparisons of means over random seeds.

Stories are resampled and not windows, because the windows of a story are similar. A mean over seeds has a second source
of variance, but two or three seeds are too few to be resampled: drawn with replacement they are often all the same, and
too many differences come out as significant (docs/how-to/ablation.md). So on each resample of the stories the mean is
shifted by its standard error over the seeds times a number drawn from Student's t.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..api import Metric, ScoresTotals, SpaceMetric
from ..api.metrics import UNLIMITED, score_range
from ..runs.results import BETTER, NOT_SIGNIFICANT, WORSE, Verdict

RESAMPLES = 1000
SEED = 0
CONFIDENCE = 0.95
LEVEL = 0.05
"""A difference with a p below this is significant."""
RESAMPLES_PER_COMPARISON = 80
"""The smallest possible p is 2 / (resamples + 1). Times the number of comparisons it must be below LEVEL."""
LEAST_STORIES = 6
"""With fewer there are no intervals and no verdicts: even a sign shared by five stories has a chance of 2/2^5 > 5 %."""
DRAWN_TOGETHER = 250
"""Resamples that are scored at once, so that memory does not grow with their number."""
SUMMED_TOGETHER = 4096
"""Windows whose summands are in memory at a time."""
FEW_STORIES = 30
"""Below this, percentile intervals are too narrow and only large differences are significant."""
HELD_OUT_ONCE = "'vsr evaluate --folds 5' holds every story out once"
MORE_STORIES = "prepare more stories"
"""The remedy where every story is held out once already."""

Better = Literal["higher", "lower", "one"]
Series = Mapping[str, NDArray[np.float64]]
"""Statistics (W, S) of the model, each baseline and the upper bound, by name."""


def resampled_windows(
    stories: Sequence[str], *, resamples: int = RESAMPLES, seed: int = SEED
) -> Iterator[NDArray[np.int64]]:
    """Yield the rows of the windows of as many stories as there are, drawn with replacement, `resamples` times."""
    number, counts = _story_numbers(stories)
    order = np.argsort(number, kind="stable")  # the rows of the windows story by story
    first = np.cumsum(counts) - counts
    for drawn in _drawn(len(counts), resamples=resamples, seed=seed):
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
    """Return the headline score of each series on each resample, (resamples,), paired: the same stories for all.

    Metrics that cannot be resampled are left out, and all of them where there are too few stories.
    """
    metrics = {name: metric for name, metric in metrics.items() if getattr(metric, "resampled", True)}
    if len(set(stories)) < LEAST_STORIES:
        return {}
    scores = {
        name: {series: np.empty(resamples) for series in statistics[name] if series != "upper_bound"}
        for name in metrics
    }
    summed = {name: metric for name, metric in metrics.items() if isinstance(metric, ScoresTotals)}
    _resample_totals(summed, statistics, stories, scores, seed=seed)
    others = {name: metric for name, metric in metrics.items() if name not in summed}
    for draw, rows in enumerate(resampled_windows(stories, resamples=resamples, seed=seed) if others else ()):
        for name, metric in others.items():
            for series, values in scores[name].items():
                values[draw] = metric.combine(statistics[name][series][rows])[name]
    return scores


def _resample_totals(
    metrics: Mapping[str, ScoresTotals],
    statistics: Mapping[str, Series],
    stories: Sequence[str],
    scores: Mapping[str, Mapping[str, NDArray[np.float64]]],
    *,
    seed: int,
) -> None:
    """Fill in the scores (resamples,) of metrics that depend on sums: each story is summed once, and not per resample.

    On the resamples of `resampled_windows`; the scores differ from those of `combine` by rounding at most.
    """
    number, counts = _story_numbers(stories)
    for name, metric in metrics.items():
        for series, values in scores[name].items():
            sums = _sums_by_story(metric, statistics[name][series], number)  # (stories, M)
            drawn = _drawn(len(counts), resamples=len(values), seed=seed)
            for start in range(0, len(values), DRAWN_TOGETHER):
                part = values[start : start + DRAWN_TOGETHER]
                times = np.stack([np.bincount(next(drawn), minlength=len(counts)) for _ in part])  # (R, stories)
                part[:] = metric.score_totals(times.astype(np.float64) @ sums, times @ counts)


def _sums_by_story(
    metric: ScoresTotals, statistics: NDArray[np.float64], number: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the sums (stories, M) of what a metric sums, of which only a part is in memory at a time."""
    width = metric.summands(statistics[:1]).shape[1]
    sums = np.zeros((number.max() + 1, width))
    for start in range(0, len(number), SUMMED_TOGETHER):
        part = slice(start, start + SUMMED_TOGETHER)
        np.add.at(sums, number[part], metric.summands(statistics[part]))
    return sums


def _story_numbers(stories: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the number of each window's story (W,), and how many windows each story has."""
    number = np.unique(np.asarray(stories, dtype=np.str_), return_inverse=True)[1]
    return number, np.bincount(number)


def _drawn(stories: int, *, resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Yield the numbers of as many stories as there are, drawn with replacement, `resamples` times."""
    random = np.random.default_rng(seed)
    for _ in range(resamples):
        yield random.integers(stories, size=stories)


def interval(values: NDArray[np.float64], within: tuple[float, float] = UNLIMITED) -> list[float] | None:
    """Return the interval of the middle 95 % of some values, clipped to the range `within`.

    None where a value is not finite: an interval of the others would be one of other stories.
    """
    if not np.isfinite(values).all():
        return None
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]).clip(*within)
    return [float(low), float(high)]


def difference_range(within: tuple[float, float]) -> tuple[float, float]:
    """Return the range of the difference between two scores of a range."""
    low, high = within
    return low - high, high - low


def compared(ours: NDArray[np.float64], theirs: NDArray[np.float64], metric: Metric | SpaceMetric) -> dict[str, Any]:
    """Compare two scores on the same resamples: the interval of their difference, and the verdict on ours."""
    lead = interval(goodness(ours, metric.better) - goodness(theirs, metric.better))
    return {"ci95": interval(ours - theirs, difference_range(score_range(metric))), "verdict": verdict(lead)}


def goodness(values: NDArray[np.float64], better: Better) -> NDArray[np.float64]:
    """Convert scores so that higher is better."""
    match better:
        case "higher":
            return values
        case "lower":
            return -values
        case "one":
            return -np.abs(values - 1)


def verdict(lead: Sequence[float] | None) -> Verdict | None:
    """Return the verdict of the 95 % interval of a lead; None where there is no interval.

    A lead is how much better the model is than what it is compared with, whatever the direction of the metric.
    """
    if lead is None:
        return None
    low, high = lead
    return BETTER if low > 0 else WORSE if high < 0 else NOT_SIGNIFICANT


def few_stories(stories: int, *, remedy: str = HELD_OUT_ONCE) -> str | None:
    """Return the caution that so few stories were scored, with its consequence; None where there are enough."""
    counted = f"only {stories} {'story was' if stories == 1 else 'stories were'} scored"
    if stories < LEAST_STORIES:
        return f"{counted}, too few for intervals and verdicts (at least {LEAST_STORIES}); {remedy}"
    if stories < FEW_STORIES:
        return (
            f"{counted}, so that intervals are rough and only large differences are significant "
            f"(at least {FEW_STORIES} are advised); {remedy}"
        )
    return None


def resamples_for(comparisons: int) -> int:
    """Return the number of resamples that so many comparisons need."""
    return max(RESAMPLES, RESAMPLES_PER_COMPARISON * comparisons)


def mean_over_seeds(scores: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    """Return the mean over seeds on each resample of the stories, (resamples,), with the variance of the seeds.

    `scores` are (seeds, resamples). With one seed its variance is unknown, and its scores are returned as they are.
    """
    seeds, resamples = scores.shape
    mean: NDArray[np.float64] = scores.mean(axis=0)
    if seeds == 1:
        return mean
    error: NDArray[np.float64] = scores.std(axis=0, ddof=1) / np.sqrt(seeds)
    mean += error * random.standard_t(seeds - 1, size=resamples)
    return mean


@dataclass(frozen=True)
class Lead:
    """The comparison of a combination with the base."""

    ci95: list[float]
    """Of the difference, the combination minus the base."""
    p: float
    """The probability of a difference as large by chance alone, two-sided."""
    ahead: bool
    """Whether the combination is more often the better of the two."""


def lead_over(
    base: NDArray[np.float64],
    ours: NDArray[np.float64],
    better: Better,
    random: np.random.Generator,
    *,
    within: tuple[float, float] = UNLIMITED,
) -> Lead | None:
    """Compare the mean over seeds with the base's, on the same resamples of the stories.

    Each is (seeds, resamples), of a metric whose scores are `within` a range. Both are assumed to have the
    same variance over seeds, as in Student's two-sample test. None where a score is not always a number.
    """
    if not (np.isfinite(ours).all() and np.isfinite(base).all()):
        return None
    (many, resamples), (few, _) = ours.shape, base.shape
    chance = np.zeros(resamples)
    if freedom := many + few - 2:
        squares = sum(((each - each.mean(axis=0)) ** 2).sum(axis=0) for each in (ours, base))
        chance = np.sqrt(squares / freedom * (1 / many + 1 / few)) * random.standard_t(freedom, size=resamples)
    mean, base_mean = ours.mean(axis=0), base.mean(axis=0)
    lead = goodness(mean, better) - goodness(base_mean, better) + chance
    below, above = int((lead <= 0).sum()), int((lead >= 0).sum())
    p = min(1.0, 2 * (min(below, above) + 1) / (resamples + 1))
    difference = interval(mean - base_mean + chance, difference_range(within))
    return Lead(difference, p, below < above) if difference else None


def holm(p: Sequence[float]) -> list[float]:
    """Adjust the p of several comparisons: the chance that any below 5 % is a false positive is at most 5 %.

    Holm, A Simple Sequentially Rejective Multiple Test Procedure, 1979.
    """
    adjusted = [1.0] * len(p)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        largest = max(largest, min(1.0, (len(p) - rank) * p[index]))
        adjusted[index] = largest
    return adjusted
