"""Sharpness and diversity of predicted images, which a gray mean image lacks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vsr_cli.api import Metric, Options, Sample

LEAST = 1e-12
"""Keeps ratios to flat images finite."""
MIDDLE = 0.5
"""Of colours."""
AT_ONCE = 4096
"""Windows whose colours are summed at a time: all of them need not fit in memory."""
GRID = 8
"""An image's layout is the mean colours of 8 x 8 fields."""


class Sharpness:
    """The predictions' edges over the targets': the ratio of the root mean squares of brightness steps.

    The statistics (n, 2): the mean square of the steps between neighbouring pixels of the prediction and of the target.
    """

    scale = "0 up, 1 is as sharp as the targets"
    better: Literal["one"] = "one"
    signature = "pixels:0-1|grey:mean|steps:neighbours|agg:ratio-of-rms"

    def measure(self, samples: Sequence[Sample]) -> NDArray[np.float64]:
        """Return the mean squared steps of each window's two images, (n, 2)."""
        rows = [[_edges(sample.predicted_image), _edges(sample.reference_image)] for sample in samples]
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    def combine(self, statistics: NDArray[np.float64]) -> dict[str, float]:
        """Return the ratio."""
        assert len(statistics), "no score without a window"
        return {"sharpness": float(_ratio(*statistics.mean(axis=0)))}

    def summands(self, statistics: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the mean squared steps, (n, 2)."""
        return statistics

    def score_totals(self, totals: NDArray[np.float64], windows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the ratio of some selections, (R,)."""
        return _ratio(*(totals / windows[:, None]).T)


class Spread:
    """Variation of the predictions between windows, divided by that of the targets: 0 if all are one image.

    The ratio of the root mean variances of the colours of 8 x 8 fields. The statistics are these colours of the
    prediction and of the target, (n, 384).
    """

    scale = "0 up, 1 is as varied as the targets"
    better: Literal["one"] = "one"
    signature = f"pixels:0-1|fields:{GRID}x{GRID}|channels:rgb|agg:ratio-of-sd"

    def measure(self, samples: Sequence[Sample]) -> NDArray[np.float64]:
        """Return the colours of each window's two images, (n, 384)."""
        rows = [np.stack([_layout(sample.predicted_image), _layout(sample.reference_image)]) for sample in samples]
        return np.array(rows, dtype=np.float64).reshape(len(samples), 2 * 3 * GRID**2)

    def combine(self, statistics: NDArray[np.float64]) -> dict[str, float]:
        """Return the ratio."""
        assert len(statistics), "no score without a window"
        parts = (statistics[start : start + AT_ONCE] for start in range(0, len(statistics), AT_ONCE))
        totals = np.sum([self.summands(part).sum(axis=0) for part in parts], axis=0)  # (386,)
        return {"diversity-image": float(self.score_totals(totals[None], np.array([len(statistics)]))[0])}

    def summands(self, statistics: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the colours less their middle, and the sums of squares of both images, (n, 386).

        A variance is the mean square less the square of the mean, which for numbers around zero loses few digits.
        """
        centered = statistics - MIDDLE
        squares = np.square(centered).reshape(len(centered), 2, -1).sum(axis=2)
        return np.concatenate([centered, squares], axis=1)

    def score_totals(self, totals: NDArray[np.float64], windows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the ratio of some selections, (R,)."""
        means = totals / windows[:, None]
        fields = means[:, :-2].reshape(len(means), 2, -1)  # (R, 2, 192)
        variances = (means[:, -2:] - np.square(fields).sum(axis=2)) / fields.shape[2]
        variances[variances < LEAST] = 0  # what is left of equal images by rounding
        return _ratio(*variances.T)


def _ratio(predicted: NDArray[np.float64], true: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the roots of the ratios of mean squares: 1 where there is nothing in either."""
    ratio = np.sqrt(predicted / np.maximum(true, LEAST))
    found: NDArray[np.float64] = np.where(np.maximum(predicted, true) > LEAST, ratio, 1.0)
    return found


def _edges(image: NDArray[np.uint8]) -> float:
    grey = image.mean(axis=2, dtype=np.float32) / 255
    return float(np.square(np.diff(grey, axis=0)).mean() + np.square(np.diff(grey, axis=1)).mean())


def _layout(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the mean colours of the fields, (3 * 64,)."""
    rows = (np.arange(GRID) * image.shape[0]) // GRID
    columns = (np.arange(GRID) * image.shape[1]) // GRID
    sums = np.add.reduceat(np.add.reduceat(image, rows, axis=0, dtype=np.float64), columns, axis=1)
    areas = np.outer(np.diff([*rows, image.shape[0]]), np.diff([*columns, image.shape[1]]))
    fields: NDArray[np.float64] = sums / areas[..., None] / 255
    return fields.reshape(-1)


def build_sharpness(options: Options) -> Metric:
    """Build the ratio of sharpness."""
    return Sharpness()


def build_spread(options: Options) -> Metric:
    """Build the ratio of variety."""
    return Spread()
