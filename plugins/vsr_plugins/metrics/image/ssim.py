"""Structural similarity by torchmetrics. Importing it takes seconds: torchmetrics imports transformers."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from vsr_cli.api import Metric, Options, Sample

if TYPE_CHECKING:
    from torch import Tensor

CHUNK = 16
"""Images compared at once: at 224 pixels about 250 MB, however many windows there are."""
SIGMA, WINDOW = 1.5, 11
"""Pixels: the Gaussian window of Wang et al. (2004)."""


class StructuralSimilarity:
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


def build(options: Options) -> Metric:
    """Build the metric."""
    return StructuralSimilarity()
