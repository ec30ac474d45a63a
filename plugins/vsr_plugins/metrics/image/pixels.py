"""Mean squared error, and the peak signal-to-noise ratio that follows from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vsr_cli.api import Metric, Options, Sample

LEAST_ERROR = 1e-10
"""Keeps the PSNR of equal images finite, at 100 dB: the error of one step of 1/255 in one value of a 224x224
image."""


def _squared_error(samples: Sequence[Sample]) -> NDArray[np.float64]:
    """Return each window's squared error, the mean over its pixels and colours in [0, 1]: (n, 1)."""
    rows = np.zeros((len(samples), 1))
    for row, sample in zip(rows, samples, strict=True):
        assert sample.predicted_image.shape == sample.reference_image.shape, "images of one size are compared"
        # float32 holds differences of 8-bit values exactly; unsigned integers would wrap around.
        difference = sample.predicted_image.astype(np.float32) - sample.reference_image
        row[0] = np.square(difference).mean(dtype=np.float64) / 255**2
    return rows


class MeanSquaredError:
    """The mean over windows of the squared error. The statistics are each window's error, (n, 1)."""

    scale = "0-1, lower is better"
    better: Literal["higher", "lower"] = "lower"
    signature = "pixels:0-1|channels:rgb|agg:mean"

    def measure(self, samples: Sequence[Sample]) -> NDArray[np.float64]:
        """Return the squared error of each window, (n, 1)."""
        return _squared_error(samples)

    def combine(self, statistics: NDArray[np.float64]) -> dict[str, float]:
        """Return the mean squared error."""
        assert len(statistics), "no score without a window"
        return {"mse": float(statistics.mean())}


class PeakSignalToNoiseRatio:
    """10 log10(1 / MSE) in dB, with the MSE of all windows together. The statistics are those of `mse`, (n, 1)."""

    scale = "dB, 0-100, higher is better"
    better: Literal["higher", "lower"] = "higher"
    signature = "pixels:0-1|channels:rgb|peak:1|agg:of-mean-mse|cap:100dB"

    def measure(self, samples: Sequence[Sample]) -> NDArray[np.float64]:
        """Return the squared error of each window, (n, 1)."""
        return _squared_error(samples)

    def combine(self, statistics: NDArray[np.float64]) -> dict[str, float]:
        """Return the peak signal-to-noise ratio."""
        assert len(statistics), "no score without a window"
        return {"psnr": -10 * math.log10(max(float(statistics.mean()), LEAST_ERROR))}


def build_mse(options: Options) -> Metric:
    """Build the mean squared error."""
    return MeanSquaredError()


def build_psnr(options: Options) -> Metric:
    """Build the peak signal-to-noise ratio."""
    return PeakSignalToNoiseRatio()
