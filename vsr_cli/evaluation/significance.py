"""How sure the mean score of several seeds is, and which of many differences are significant.

Two things are chance in such a mean: which stories it was measured on, and which seeds the model was trained with.
Stories are resampled, the same ones for all. Seeds are too few for that: two or three, drawn with replacement, are
alike too often, and differences that are none come out as significant (docs/how-to/ablation.md). So on each
resample of the stories the mean is moved by its standard error over the seeds, times a number drawn from Student's t.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..api.metrics import UNLIMITED
from .bootstrap import RESAMPLES, Better, difference_range, goodness, interval

SEED = 0
LEVEL = 0.05
"""Below this, p says that a difference is significant."""
RESAMPLES_A_COMPARISON = 80
"""The least p that there can be is 2 / (resamples + 1). Times the number of comparisons it must lie below LEVEL."""


def resamples_for(comparisons: int) -> int:
    """Say how many resamples so many comparisons need."""
    return max(RESAMPLES, RESAMPLES_A_COMPARISON * comparisons)


def mean_over_seeds(scores: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    """Return mean of several seeds' scores on each resample of the stories, with what other seeds would have changed.

    `scores` are (seeds, resamples). One seed tells nothing of others: its scores are given as they are.
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
    """How a combination compares with the base."""

    ci95: list[float]
    """Of the difference, theirs less the base's."""
    p: float
    """How often chance alone brings a difference as large, either way."""
    ahead: bool
    """Whether it is rather the better of the two."""


def lead_over(
    base: NDArray[np.float64],
    ours: NDArray[np.float64],
    better: Better,
    random: np.random.Generator,
    *,
    within: tuple[float, float] = UNLIMITED,
) -> Lead | None:
    """Compare the mean of some seeds with that of the base's, on the same resamples of the stories.

    Each is (seeds, resamples), of a metric whose scores are `within` a range. The seeds of both are taken to scatter
    alike, as in Student's test for two samples. None where a score is not always a number.
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
    """Adjust the p of several comparisons, so that with 95 % chance none that stays below 5 % is by chance alone.

    Holm, A Simple Sequentially Rejective Multiple Test Procedure, 1979.
    """
    adjusted = [1.0] * len(p)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        largest = max(largest, min(1.0, (len(p) - rank) * p[index]))
        adjusted[index] = largest
    return adjusted
