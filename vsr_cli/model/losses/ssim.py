"""The loss term `ssim`: 1 - SSIM of the generated image, the error of local structure."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from .term import ForwardPass, LossTerm, TermRequest

WINDOW, SIGMA = 11, 1.5
"""Pixels: the Gaussian window of Wang et al. (2004)."""
MEAN_STABILITY, VARIANCE_STABILITY = 0.01**2, 0.03**2
"""Their constants C1 and C2, for pixels in [0, 1]."""


class StructuralError(LossTerm):
    """1 - SSIM."""

    compares_images = True

    def forward(self, outputs: ForwardPass) -> Tensor:
        """Return the mean over windows, a scalar in [0, 2]."""
        return 1 - structural_similarity(outputs.differentiable_image("ssim"), outputs.target.image)


def build(request: TermRequest) -> StructuralError:
    """Build the term."""
    return StructuralError()


def structural_similarity(first: Tensor, second: Tensor) -> Tensor:
    """Return the mean over images, colors and pixels of SSIM (Wang et al., 2004), a scalar in [-1, 1].

    Both are (B, 3, H, W) in [0, 1] with H and W of at least 6 pixels, and are mirrored at their borders as by the
    metric `ssim`.
    """
    # Variances are small differences of large numbers: in half precision little would be left of them.
    with torch.autocast(first.device.type, enabled=False):
        first, second = first.float(), second.float()
        rows, columns = (gaussian(size, device=first.device) for size in first.shape[-2:])  # (H, H), (W, W)
        maps = torch.stack([first, second, first * first, second * second, first * second])  # (5, B, 3, H, W)
        one, two, one_squared, two_squared, product = rows @ maps @ columns.T
        variances = one_squared - one * one + two_squared - two * two
        covariance = product - one * two
        luminance = (2 * one * two + MEAN_STABILITY) / (one * one + two * two + MEAN_STABILITY)
        structure = (2 * covariance + VARIANCE_STABILITY) / (variances + VARIANCE_STABILITY)
        similarity: Tensor = (luminance * structure).mean()
        return similarity


def gaussian(size: int, *, device: torch.device) -> Tensor:
    """Return the matrix (size, size) that blurs columns of that many pixels; a product is faster than a convolution."""
    distance = torch.arange(WINDOW, device=device) - WINDOW // 2
    shares = torch.softmax(-(distance**2) / (2 * SIGMA**2), dim=0)  # (11,)
    mirrored = functional.pad(torch.eye(size, device=device), [WINDOW // 2] * 2, mode="reflect")  # (size, size + 10)
    return (mirrored.unfold(1, WINDOW, 1) @ shares).T  # (size, size, 11) @ (11,) -> (size, size)
