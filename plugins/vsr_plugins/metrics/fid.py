"""FID: the Fréchet distance in the space of torchmetrics' InceptionV3, with weights that the user names."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from vsr_cli.api import Metric, Sample, VsrError, one_line, read_tensors

from . import FidOptions
from .frechet import distance, too_few
from .pretrained import UNLOADABLE

if TYPE_CHECKING:
    from torch import Tensor

DIMENSIONS = 2048
CHUNK = 8
URL = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
REMEDY = (
    f"install torch-fidelity (pip install 'vsr-cli[fid]'), and name the weights that it publishes at {URL} by "
    "--set metrics.fid.weights=FILE"
)


class Fid:
    """The Fréchet Inception distance of Heusel et al. (2017), of all predicted to all true images.

    The statistics (n, 4096): the features of each window's prediction and target.
    """

    scale = "0 up, lower is better; of one number of windows only"
    better: Literal["lower"] = "lower"
    resampled = False  # a resample has fewer distinct windows, which increases the distance

    def __init__(self, network: Callable[[Tensor], Tensor], options: FidOptions) -> None:
        """Take a network that returns features (n, 2048) of images (n, 3, H, W) uint8."""
        self._network = network
        self.signature = (
            f"net:inception-2048|weights:{Path(options.weights or '').name}|agg:corpus"
            f"|version:torchmetrics-{version('torchmetrics')}"
        )

    def measure(self, samples: Sequence[Sample]) -> NDArray[np.float64]:
        """Return the features of each window's two images, (n, 4096)."""
        images = [image for each in samples for image in (each.predicted_image, each.reference_image)]
        chunks = [self._features(images[start : start + CHUNK]) for start in range(0, len(images), CHUNK)]
        return np.concatenate([np.empty((0, DIMENSIONS)), *chunks]).reshape(-1, 2 * DIMENSIONS)

    def combine(self, statistics: NDArray[np.float64]) -> dict[str, float]:
        """Return the distance, its part by the means and its part by the covariances."""
        return distance("fid", statistics)

    def caution(self, windows: int) -> str | None:
        """Return a warning if there are too few windows for a covariance."""
        return too_few("fid", windows, DIMENSIONS)

    def _features(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
        import torch

        with torch.inference_mode():
            found = self._network(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2))  # -> (n, 2048)
        features: NDArray[np.float64] = found.double().numpy()
        return features


def build(options: FidOptions) -> Metric:
    """Build the metric. Raises VsrError if torch-fidelity is not installed, or its weights are not there."""
    if options.weights is None:
        raise VsrError(f"fid: no weights are named; {REMEDY}")
    weights = read_tensors(Path(options.weights), remedy=REMEDY)
    try:
        import torch
        from torchmetrics.image.fid import NoTrainInceptionV3

        # torch-fidelity would unpickle any code in the file, so that it gets the tensors alone, read without that.
        tensors: Any = io.BytesIO()
        torch.save(dict(weights), tensors)
        tensors.seek(0)
        network = NoTrainInceptionV3("inception-v3-compat", [str(DIMENSIONS)], tensors)
    except UNLOADABLE as error:
        raise VsrError(f"fid: cannot load {options.weights} ({one_line(error)}); {REMEDY}") from error
    return Fid(network, options)
