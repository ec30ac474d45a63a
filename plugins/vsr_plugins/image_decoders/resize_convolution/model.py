"""Image decoders that enlarge by interpolation and then convolve."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from vsr_cli.api import BuildContext, Narrative

from . import ResizeConvolutionOptions
from .enlarging import FEWEST_CHANNELS, Enlarging, sizes_up_to

INITIAL_MASK = -2.0
"""Logit of the share that is drawn anew at first, 0.12: with much less, the gradient of what is drawn is too small."""


class Upsample(nn.Module):
    """An image drawn from the summary alone."""

    def __init__(self, options: ResizeConvolutionOptions, context: BuildContext) -> None:
        super().__init__()
        *sizes, self.image_size = sizes_up_to(context.image_size)
        self.features = Enlarging(width=context.width, sizes=sizes, channels=options.channels)
        self.draw = nn.Conv2d(self.features.channels, 3, 3, padding=1)

    def forward(self, narrative: Narrative) -> Tensor:
        """Return (B, 3, H, W) in [0, 1] from the summary (B, D)."""
        features = functional.interpolate(self.features(narrative.summary), self.image_size)  # (B, D) -> (B, C, H, W)
        return torch.sigmoid(self.draw(features))  # -> (B, 3, H, W)

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the mean squared error of two images (B, 3, H, W), a scalar."""
        return functional.mse_loss(prediction, target)


class Residual(nn.Module):
    """The last image where a mask says so, and elsewhere one drawn from the summary and the last image.

    The mask of Vondrick et al. (2016), "Generating Videos with Scene Dynamics", equation 2, with the last image for the
    background. At first it keeps 88 % of the last image everywhere: training starts near copying. The mask and what is
    new have half the image's size, so that a step costs a quarter; what is kept is as sharp as it was.
    """

    def __init__(self, options: ResizeConvolutionOptions, context: BuildContext) -> None:
        super().__init__()
        *sizes, self.image_size = sizes_up_to(context.image_size)
        self.features = Enlarging(width=context.width, sizes=sizes, channels=options.channels)
        self.look = nn.Conv2d(self.features.channels + 3, FEWEST_CHANNELS, 3, padding=1)
        self.draw = nn.Conv2d(FEWEST_CHANNELS, 3 + 1, 3, padding=1)
        with torch.no_grad():
            self.draw.weight[3].zero_()
            assert self.draw.bias is not None
            self.draw.bias[3] = INITIAL_MASK

    def forward(self, narrative: Narrative) -> Tensor:
        """Return (B, 3, H, W) in [0, 1] from the summary (B, D) and the last image (B, 3, H, W)."""
        last = narrative.context.last_image
        features = self.features(narrative.summary)  # (B, D) -> (B, C, h, w)
        small = functional.interpolate(last, features.shape[-2:], mode="area")  # (B, 3, H, W) -> (B, 3, h, w)
        seen = functional.relu(self.look(torch.cat([features, small], dim=1)))  # (B, C + 3, h, w) -> (B, 16, h, w)
        drawn = torch.sigmoid(self.draw(seen))  # -> (B, 4, h, w)
        drawn = functional.interpolate(drawn, self.image_size, mode="bilinear")  # -> (B, 4, H, W)
        new, mask = drawn[:, :3], drawn[:, 3:]
        return last + mask * (new - last)

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the mean squared error of two images (B, 3, H, W), a scalar."""
        return functional.mse_loss(prediction, target)


def build_upsample(options: ResizeConvolutionOptions, context: BuildContext) -> Upsample:
    """Build the decoder that draws from the summary."""
    return Upsample(options, context)


def build_residual(options: ResizeConvolutionOptions, context: BuildContext) -> Residual:
    """Build the decoder that changes the last image."""
    return Residual(options, context)
