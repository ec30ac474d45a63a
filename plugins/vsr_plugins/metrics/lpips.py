"""LPIPS on a torchvision network whose weights the user names; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from vsr_cli.api import MeanOfWindows, Metric, Sample, VsrError, one_line, read_tensors

from . import LpipsOptions
from .pretrained import UNLOADABLE

if TYPE_CHECKING:
    from torch import Tensor

STAGES = {"alex": ("alexnet", (2, 5, 8, 10, 12)), "vgg": ("vgg16", (4, 9, 16, 23, 30))}
"""By network, torchvision's name of it, and after how many of its layers features are compared: conv1 to conv5."""
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""The paper's normalisation of pixels in [-1, 1]."""
SMALLEST = 64
"""Pixels a side: smaller images are enlarged, for nothing would be left of them after the last pooling."""
CHUNK = 8
REMEDY = (
    "name the state dict of torchvision's {name} (.safetensors, .pt or .pth) by --set metrics.lpips.weights=FILE; "
    "torchvision publishes it at {url}"
)


class Lpips(MeanOfWindows):
    """The mean over windows of the learned perceptual distance between predicted and true image.

    Zhang et al. (2018), "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", version 0.1: channels
    of unit length, their squared differences weighed by linear layers and averaged over places. The statistics are the
    distances, (n, 1).
    """

    scale = "0 up, lower is better; of one network only"
    better: Literal["lower"] = "lower"

    def __init__(self, features: Any, linear: Sequence[Tensor], options: LpipsOptions) -> None:
        self._features = features.eval().requires_grad_(False)
        self._linear = linear  # of each stage, (C, 1, 1)
        self._stages = STAGES[options.net][1]
        self.signature = (
            f"net:{options.net}|weights:{Path(options.weights or '').name}|lpips:0.1|smallest:{SMALLEST}|agg:mean"
            f"|version:torchvision-{version('torchvision')}"
        )

    def measure(self, samples: Sequence[Sample]) -> NDArray[np.float64]:
        """Return the distance of each window, (n, 1)."""
        import torch

        values: list[float] = []
        for start in range(0, len(samples), CHUNK):
            chunk = samples[start : start + CHUNK]
            images = [each.predicted_image for each in chunk] + [each.reference_image for each in chunk]
            with torch.inference_mode():
                values += self._distances(torch.from_numpy(np.stack(images))).tolist()
        return np.array(values, dtype=np.float64).reshape(-1, 1)

    def combine(self, statistics: NDArray[np.float64]) -> dict[str, float]:
        """Return the mean distance."""
        assert len(statistics), "no score without a window"
        return {"lpips": float(statistics.mean())}

    def _distances(self, images: Tensor) -> Tensor:
        """Return the distances (n,) of n predicted images and then n true ones, (2n, H, W, 3) uint8."""
        import torch
        from torch.nn import functional

        pixels = images.permute(0, 3, 1, 2).float() / 127.5 - 1  # (2n, 3, H, W) in [-1, 1]
        if min(pixels.shape[-2:]) < SMALLEST:
            pixels = functional.interpolate(pixels, (SMALLEST, SMALLEST), mode="bilinear")
        maps = (pixels - torch.tensor(SHIFT).view(3, 1, 1)) / torch.tensor(SCALE).view(3, 1, 1)
        total = torch.zeros(len(images) // 2)
        before = 0
        for end, linear in zip(self._stages, self._linear, strict=True):
            maps = self._features[before:end](maps)  # (2n, C, h, w)
            predicted, true = (maps / (maps.norm(dim=1, keepdim=True) + 1e-10)).chunk(2)
            total += ((predicted - true).square() * linear).sum(1).mean((1, 2))  # (n, C, h, w) -> (n,)
            before = end
        return total


def build(options: LpipsOptions) -> Metric:
    """Build the metric. Raises VsrError if no weights are named or they are not this network's."""
    import torch
    import torchmetrics
    from torchvision import models

    name, stages = STAGES[options.net]
    published = models.get_model_weights(name).DEFAULT
    remedy = REMEDY.format(name=name, url=published.url)
    if options.weights is None:
        raise VsrError(f"lpips: no weights are named; {remedy}")
    tensors = read_tensors(Path(options.weights), remedy=remedy)
    try:
        # torchmetrics brings the linear layers along; a file may hold its own.
        carried = Path(torchmetrics.__file__).parent / "functional" / "image" / "lpips_models" / f"{options.net}.pth"
        tensors = {**torch.load(carried, map_location="cpu", weights_only=True), **tensors}
        features: Any = models.get_model(name, weights=None).features
        features.load_state_dict(
            {key.removeprefix("features."): tensor for key, tensor in tensors.items() if key.startswith("features.")}
        )
        linear = [tensors[f"lin{stage}.model.1.weight"][0].float() for stage in range(len(stages))]  # (1, C, 1, 1)
    except UNLOADABLE as error:
        raise VsrError(f"lpips: cannot load {options.weights} ({one_line(error)}); {remedy}") from error
    return Lpips(features, linear, options)
