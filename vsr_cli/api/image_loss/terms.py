"""The errors of an image that a decoder can be trained on."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from . import ImageLossOptions

WINDOW, SIGMA = 11, 1.5
"""Pixels: the Gaussian window of Wang et al. (2004)."""
MEAN_STABILITY, VARIANCE_STABILITY = 0.01**2, 0.03**2
"""Their constants C1 and C2, for pixels in [0, 1]."""


class ImageLoss(nn.Module):
    """A weighted sum of errors."""

    def __init__(self, options: ImageLossOptions, perceptual: nn.Module | None) -> None:
        super().__init__()
        self.options = options
        self.perceptual = perceptual

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Give the loss, a scalar, of two images (B, 3, H, W) in [0, 1]."""
        weights = self.options
        loss = torch.zeros((), device=prediction.device)
        if weights.mse:
            loss = loss + weights.mse * functional.mse_loss(prediction, target)
        if weights.l1:
            loss = loss + weights.l1 * functional.l1_loss(prediction, target)
        if weights.ssim:
            loss = loss + weights.ssim * (1 - structural_similarity(prediction, target))
        if self.perceptual is not None:
            loss = loss + weights.perceptual * self.perceptual(prediction, target)
        return loss


def structural_similarity(first: Tensor, second: Tensor) -> Tensor:
    """Give the mean over images, colours and pixels of SSIM (Wang et al., 2004), a scalar in [-1, 1].

    Both are (B, 3, H, W) in [0, 1] with H and W of at least 6 pixels. They are mirrored at their borders, as by the
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
    """Give the matrix (size, size) that blurs columns of so many pixels: a product is faster than a convolution."""
    distance = torch.arange(WINDOW, device=device) - WINDOW // 2
    shares = torch.softmax(-(distance**2) / (2 * SIGMA**2), dim=0)  # (11,)
    mirrored = functional.pad(torch.eye(size, device=device), [WINDOW // 2] * 2, mode="reflect")  # (size, size + 10)
    return (mirrored.unfold(1, WINDOW, 1) @ shares).T  # (size, size, 11) @ (11,) -> (size, size)
