"""From a summary to a map of features, by enlargements and convolutions."""

from __future__ import annotations

import math

from torch import nn

LARGEST_START = 8
"""Pixels at which enlarging may start: the linear layer below it grows with the square of them."""
FEWEST_CHANNELS = 16


class Enlarging(nn.Sequential):
    """A linear layer to a small map of features, then a nearest-neighbour enlargement and a convolution for each size.

    Odena et al. (2016), "Deconvolution and Checkerboard Artifacts". Any size can be drawn, as an enlargement need not
    be by a whole number. Group in place of batch normalisation: an image depends on its own story alone.
    """

    def __init__(self, *, width: int, sizes: list[int], channels: int) -> None:
        start = sizes[0]
        layers: list[nn.Module] = [nn.Linear(width, channels * start * start)]  # (B, D) -> (B, C * start * start)
        layers += [nn.Unflatten(-1, (channels, start, start)), *normalised(channels)]  # -> (B, C, start, start)
        for size in sizes[1:]:
            fewer = max(channels // 2, FEWEST_CHANNELS)
            layers += [nn.Upsample(size=(size, size)), nn.Conv2d(channels, fewer, 3, padding=1, bias=False)]
            layers += normalised(fewer)
            channels = fewer
        super().__init__(*layers)
        self.channels = channels


def sizes_up_to(image_size: int) -> list[int]:
    """Return sizes in pixels from the smallest map to the image, each half of the next, rounded up; at least two."""
    sizes = [image_size]
    while sizes[0] > LARGEST_START or len(sizes) == 1:
        sizes.insert(0, math.ceil(sizes[0] / 2))
    return sizes


def normalised(channels: int) -> list[nn.Module]:
    """Make what follows a layer that gives so many channels."""
    return [nn.GroupNorm(math.gcd(channels, 8), channels), nn.ReLU()]
