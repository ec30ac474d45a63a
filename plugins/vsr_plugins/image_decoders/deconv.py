"""Image decoder `deconv`: transposed convolutions."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional

from vsr_cli.api import BuildContext, Narrative, VsrError

from . import DeconvOptions

LARGEST_START = 8
"""Largest initial size in pixels; the first linear layer grows with its square."""
FEWEST_CHANNELS = 16


class Deconv(nn.Module):
    """A linear layer to a small map of features, then a transposed convolution for each doubling of its size.

    The generator of Radford et al. (2016), "Unsupervised Representation Learning with Deep Convolutional
    Generative Adversarial Networks", with group instead of batch normalization, so that an image does not
    depend on the rest of its batch.
    """

    def __init__(self, options: DeconvOptions, context: BuildContext) -> None:
        super().__init__()
        start, doublings = start_size(context.image_size)
        channels = options.channels
        self.first = nn.Linear(context.width, channels * start * start)
        self.shape = (channels, start, start)
        layers: list[nn.Module] = [nn.GroupNorm(math.gcd(channels, 8), channels), nn.ReLU()]
        for _ in range(doublings - 1):
            fewer = max(channels // 2, FEWEST_CHANNELS)
            # Kernel 4 is a multiple of stride 2, so that every pixel has equally many weights.
            layers += [nn.ConvTranspose2d(channels, fewer, 4, stride=2, padding=1, bias=False)]
            layers += [nn.GroupNorm(math.gcd(fewer, 8), fewer), nn.ReLU()]
            channels = fewer
        layers += [nn.ConvTranspose2d(channels, 3, 4, stride=2, padding=1), nn.Sigmoid()]
        self.upsample = nn.Sequential(*layers)

    def forward(self, narrative: Narrative) -> Tensor:
        """Return (B, 3, H, W) in [0, 1] from the summary (B, D)."""
        small = self.first(narrative.summary).unflatten(-1, self.shape)  # (B, D) -> (B, C, start, start)
        image: Tensor = self.upsample(small)  # -> (B, 3, H, W)
        return image

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the mean squared error of images (B, 3, H, W), a scalar."""
        return functional.mse_loss(prediction, target)


def start_size(image_size: int) -> tuple[int, int]:
    """Return the size to start from and the number of doublings, at least one, that lead to `image_size`.

    Raises VsrError if no start of at most `LARGEST_START` pixels leads there.
    """
    size, doublings = image_size, 0
    while size > LARGEST_START and size % 2 == 0:
        size, doublings = size // 2, doublings + 1
    if size > LARGEST_START or doublings == 0:
        raise VsrError(
            f"image decoder deconv: cannot generate images of {image_size} pixels, which is not a size of at most "
            f"{LARGEST_START} times a power of 2; choose an image size such as 64, 96, 128 or 224"
        )
    return size, doublings
