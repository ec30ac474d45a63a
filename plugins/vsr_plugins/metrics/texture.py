"""Sharpness and diversity of predicted images, which a gray mean image lacks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vsr_cli.api import Metric, Options, Sample

LEAST = 1e-12
"""Keeps ratios to flat images finite."""
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
        predicted, true = statistics.mean(axis=0)
        return {"sharpness": _ratio(predicted, true)}


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
        predicted, true = statistics.var(axis=0).reshape(2, -1).mean(axis=1)
        return {"diversity-image": _ratio(predicted, true)}


def _ratio(predicted: float, true: float) -> float:
    """Return the root of the ratio of two mean squares: 1 if there is nothing in either."""
    return float(np.sqrt(predicted / max(true, LEAST))) if max(predicted, true) > LEAST else 1.0


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
