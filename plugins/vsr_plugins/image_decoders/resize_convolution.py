"""Image decoders `upsample` and `residual`: interpolation followed by convolutions."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from vsr_cli.api import BuildContext, Narrative

from . import ResizeConvolutionOptions

LARGEST_START = 8
"""Largest initial size in pixels; the first linear layer grows with its square."""
FEWEST_CHANNELS = 16


class UpsamplingBlocks(nn.Sequential):
    """A linear layer to a small feature map, then nearest-neighbor upsampling and a convolution for each size.

    Odena et al. (2016), "Deconvolution and Checkerboard Artifacts". Any image size works, as the factor need not be a
    whole number. Group instead of batch normalization: an image does not depend on the rest of its batch.
    """

    def __init__(self, *, width: int, sizes: list[int], channels: int) -> None:
        start = sizes[0]
        layers: list[nn.Module] = [nn.Linear(width, channels * start * start)]  # (B, D) -> (B, C * start * start)
        layers += [nn.Unflatten(-1, (channels, start, start)), *norm_and_relu(channels)]  # -> (B, C, start, start)
        for size in sizes[1:]:
            fewer = max(channels // 2, FEWEST_CHANNELS)
            layers += [nn.Upsample(size=(size, size)), nn.Conv2d(channels, fewer, 3, padding=1, bias=False)]
            layers += norm_and_relu(fewer)
            channels = fewer
        super().__init__(*layers)
        self.channels = channels


def sizes_up_to(image_size: int) -> list[int]:
    """Return sizes in pixels from the smallest map to the image, each half of the next, rounded up; at least two."""
    sizes = [image_size]
    while sizes[0] > LARGEST_START or len(sizes) == 1:
        sizes.insert(0, math.ceil(sizes[0] / 2))
    return sizes


def norm_and_relu(channels: int) -> list[nn.Module]:
    """Return the layers that follow a convolution with this many channels."""
    return [nn.GroupNorm(math.gcd(channels, 8), channels), nn.ReLU()]


INITIAL_MASK = -2.0
"""Initial logit of the mask, a share of 0.12; with much less, the generated part gets too small a gradient."""


class Upsample(nn.Module):
    """An image generated from the summary alone."""

    def __init__(self, options: ResizeConvolutionOptions, context: BuildContext) -> None:
        super().__init__()
        *sizes, self.image_size = sizes_up_to(context.image_size)
        self.features = UpsamplingBlocks(width=context.width, sizes=sizes, channels=options.channels)
        self.draw = nn.Conv2d(self.features.channels, 3, 3, padding=1)

    def forward(self, narrative: Narrative) -> Tensor:
        """Return (B, 3, H, W) in [0, 1] from the summary (B, D)."""
        features = functional.interpolate(self.features(narrative.summary), self.image_size)  # (B, D) -> (B, C, H, W)
        return torch.sigmoid(self.draw(features))  # -> (B, 3, H, W)

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the mean squared error of images (B, 3, H, W), a scalar."""
        return functional.mse_loss(prediction, target)


class Residual(nn.Module):
    """A learned mask blends the last image with one generated from the summary and the last image.

    The mask of Vondrick et al. (2016), "Generating Videos with Scene Dynamics", equation 2, with the last image as the
    background. Initially 88 % of the last image remains, so that training starts close to copying. Mask and generated
    image have half the image's size, a quarter of the cost; what remains of the last image stays sharp.
    """

    def __init__(self, options: ResizeConvolutionOptions, context: BuildContext) -> None:
        super().__init__()
        *sizes, self.image_size = sizes_up_to(context.image_size)
        self.features = UpsamplingBlocks(width=context.width, sizes=sizes, channels=options.channels)
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
        generated = torch.sigmoid(self.draw(seen))  # -> (B, 4, h, w)
        generated = functional.interpolate(generated, self.image_size, mode="bilinear")  # -> (B, 4, H, W)
        new, mask = generated[:, :3], generated[:, 3:]
        return last + mask * (new - last)

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the mean squared error of images (B, 3, H, W), a scalar."""
        return functional.mse_loss(prediction, target)
