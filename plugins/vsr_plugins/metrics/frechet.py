"""The Fréchet distance between all predicted and all true images, in the space of the run's visual encoder."""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vsr_cli.api import Comparison, Options, SpaceMetric

Vectors = NDArray[np.float64]
DIMENSIONS = 64
"""Vectors of more are projected to so many random directions: a covariance of d dimensions needs more than d windows,
and splits have few."""
SEED = 0


class FrechetVisual:
    """The Fréchet distance between normal distributions fitted to the predicted and to the true images' vectors.

    That of Heusel et al. (2017), "GANs Trained by a Two Time-Scale Update Rule", equation 6, but in another space than
    Inception's, so that it is not their FID:

        |m - m'|^2 + tr(S + S' - 2 (S S')^(1/2))

    It compares all predictions with all targets: unlike a mean over windows, it sees that they are too uniform or that
    none looks like a true image, and does not see which image belongs to which window. The statistics (n, 2d): the two
    vectors of each window, projected to at most 64 orthogonal random directions and scaled so that squared distances
    are the same on average.
    """

    scale = "0 up, lower is better; of one space and number of windows only"
    better: Literal["lower"] = "lower"
    space: Literal["visual", "text"] = "visual"
    ranks = False
    resampled = False  # a resample has fewer distinct windows, which increases the distance
    signature = f"space:visual|directions:{DIMENSIONS}-random-seed{SEED}|agg:corpus"

    def measure_in_space(self, comparison: Comparison) -> NDArray[np.float64]:
        """Return the projected vectors of each window's prediction and target, (n, 2d)."""
        return np.concatenate([_projected(comparison.predicted), _projected(comparison.reference)], axis=1)

    def combine(self, statistics: NDArray[np.float64]) -> dict[str, float]:
        """Return the distance, its part by the means and its part by the covariances."""
        return distance("frechet-visual", statistics)

    def caution(self, windows: int) -> str | None:
        """Return a warning if there are too few windows for a covariance."""
        return too_few("frechet-visual", windows, DIMENSIONS)


def distance(name: str, statistics: Vectors) -> dict[str, float]:
    """Return the distance of n pairs of vectors (n, 2d), and its parts, under the name of a metric."""
    assert len(statistics), "no score without a window"
    predicted, true = np.split(statistics, 2, axis=1)
    means = float(np.square(predicted.mean(axis=0) - true.mean(axis=0)).sum())
    covariances = covariance_distance(predicted, true)
    return {name: means + covariances, f"{name}-means": means, f"{name}-covariances": covariances}


def too_few(name: str, windows: int, dimensions: int) -> str | None:
    """Return a warning if there are too few windows for a covariance of so many dimensions."""
    if windows > dimensions:
        return None
    return (
        f"{name}: {windows} windows are too few for covariances of {dimensions} dimensions, so that the distance is "
        "too large, also of good images; compare it on the same windows only, or score more stories"
    )


def covariance_distance(one: Vectors, other: Vectors) -> float:
    """Return tr(S + S' - 2 (S S')^(1/2)) of the covariances of n vectors (n, d) each.

    With centered rows A and B, S = A'A / (n - 1): the eigenvalues of S S' are the squared singular values of
    A B' / (n - 1), so that no square root of a matrix is needed, which fails for singular ones.
    """
    centered = [each - each.mean(axis=0) for each in (one, other)]
    # R of A = QR has the same S, and at most d rows.
    left, right = (np.asarray(np.linalg.qr(each).R) if len(each) > each.shape[1] else each for each in centered)
    common = np.linalg.svd(left @ right.T, compute_uv=False).sum()
    own = sum(float(np.square(each).sum()) for each in centered)
    return max(0.0, float(own - 2 * common) / max(1, len(one) - 1))


def _projected(vectors: NDArray[np.float32]) -> Vectors:
    """Return vectors (n, D) in at most `DIMENSIONS` directions."""
    width = vectors.shape[1]
    if width <= DIMENSIONS:
        return vectors.astype(np.float64)
    projected: Vectors = vectors.astype(np.float64) @ _directions(width)
    return projected


@cache
def _directions(width: int) -> Vectors:
    """Return orthogonal random directions (width, `DIMENSIONS`), each of length sqrt(width / DIMENSIONS)."""
    random = np.random.default_rng(SEED).normal(size=(width, DIMENSIONS))
    directions: Vectors = np.linalg.qr(random).Q * np.sqrt(width / DIMENSIONS)
    return directions


def build(options: Options) -> SpaceMetric:
    """Build the metric."""
    return FrechetVisual()
