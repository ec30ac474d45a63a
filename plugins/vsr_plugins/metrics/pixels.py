"""Image metrics on pixels: mean squared error, peak signal-to-noise ratio, structural similarity (torchmetrics)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from vsr_cli.api import MeanOfWindows, Metric, Options, Sample

if TYPE_CHECKING:
    from torch import Tensor

LEAST_ERROR = 1e-10
"""Keeps the PSNR of equal images finite, at 100 dB: the error of one step of 1/255 in one value of a 224x224
image."""
CHUNK = 16
"""Images compared at once: at 224 pixels about 250 MB, however many windows there are."""
SIGMA, WINDOW = 1.5, 11
"""Pixels: the Gaussian window of Wang et al. (2004)."""


def _squared_error(samples: Sequence[Sample]) -> NDArray[np.float64]:
    """Return each window's squared error, the mean over its pixels and colours in [0, 1]: (n, 1)."""
    rows = np.zeros((len(samples), 1))
    for row, sample in zip(rows, samples, strict=True):
        assert sample.predicted_image.shape == sample.reference_image.shape, "images of one size are compared"
        # float32 holds differences of 8-bit values exactly; unsigned integers would wrap around.
        difference = sample.predicted_image.astype(np.float32) - sample.reference_image
        row[0] = np.square(difference).mean(dtype=np.float64) / 255**2
    return rows


class MeanSquaredError(MeanOfWindows):
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

    def summands(self, statistics: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the squared errors, (n, 1)."""
        return statistics

    def score_totals(self, totals: NDArray[np.float64], windows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the ratio of some selections, (R,)."""
        return -10 * np.log10(np.maximum(totals[:, 0] / windows, LEAST_ERROR))


class StructuralSimilarity(MeanOfWindows):
    """The mean over windows of SSIM (Wang et al., 2004), itself the mean over colours and pixels.

    The statistics are each window's SSIM, (n, 1). Pixels are in [0, 1]; images are mirrored at their borders.
    """

    scale = "-1 to 1, higher is better"
    better: Literal["higher", "lower"] = "higher"

    def __init__(self) -> None:
        from torchmetrics.functional.image.ssim import structural_similarity_index_measure

        self._similarity = structural_similarity_index_measure
        self.signature = (
            f"pixels:0-1|channels:rgb|window:gaussian{WINDOW}|sigma:{SIGMA}|k1:0.01|k2:0.03|border:mirrored|agg:mean"
            f"|version:torchmetrics-{version('torchmetrics')}"
        )

    def measure(self, samples: Sequence[Sample]) -> NDArray[np.float64]:
        """Return the SSIM of each window, (n, 1)."""
        import torch

        values: list[float] = []
        for start in range(0, len(samples), CHUNK):
            chunk = samples[start : start + CHUNK]
            with torch.inference_mode():
                similarity = self._similarity(
                    _pixels([sample.predicted_image for sample in chunk]),
                    _pixels([sample.reference_image for sample in chunk]),
                    sigma=SIGMA,
                    kernel_size=WINDOW,
                    data_range=1.0,
                    reduction="none",
                )  # (n,)
            assert isinstance(similarity, torch.Tensor)
            values.extend(similarity.tolist())
        return np.array(values, dtype=np.float64).reshape(-1, 1)

    def combine(self, statistics: NDArray[np.float64]) -> dict[str, float]:
        """Return the mean SSIM."""
        assert len(statistics), "no score without a window"
        return {"ssim": float(statistics.mean())}


def _pixels(images: Sequence[NDArray[np.uint8]]) -> Tensor:
    import torch

    stacked = torch.from_numpy(np.stack(images))  # (n, H, W, 3) uint8
    return stacked.permute(0, 3, 1, 2).float().div(255)  # (n, 3, H, W) in [0, 1]


def build_mse(options: Options) -> Metric:
    """Build the mean squared error."""
    return MeanSquaredError()


def build_psnr(options: Options) -> Metric:
    """Build the peak signal-to-noise ratio."""
    return PeakSignalToNoiseRatio()


def build_ssim(options: Options) -> Metric:
    """Build the structural similarity."""
    return StructuralSimilarity()
