"""Visual encoder `tiny-cnn`: a small convolutional network, trained from scratch."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from vsr_cli.api import BuildContext

from . import TinyCnnOptions

CHANNELS = (32, 64, 128, 128)


class TinyCnn(nn.Module):
    """Four convolutions of stride 2, then a linear layer over the flattened last feature map.

    There is no pooling, since positions in an image matter to a story.
    """

    cache_key: str | None = None

    def __init__(self, options: TinyCnnOptions, context: BuildContext) -> None:
        super().__init__()
        size = self.size = options.size
        layers: list[nn.Module] = []
        for before, after in zip((3, *CHANNELS), CHANNELS, strict=False):
            # Group normalisation (Wu and He, 2018) has no running statistics: training and evaluation are the same.
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(8, after), nn.ReLU()]
        self.convolutions = nn.Sequential(*layers)
        self.projection = nn.Linear(CHANNELS[-1] * (size // 2 ** len(CHANNELS)) ** 2, context.width)

    def pixels(self, images: Tensor) -> Tensor:
        """Return (N, 3, size, size) in [-1, 1] from images (N, 3, H, W) uint8."""
        resized = images.float()
        if images.shape[-2:] != (self.size, self.size):
            resized = functional.interpolate(
                resized, (self.size, self.size), mode="bilinear", antialias=True
            )  # (N, 3, H, W) -> (N, 3, size, size)
        return resized / 127.5 - 1

    def frozen(self, pixels: Tensor) -> Tensor:
        """Return the pixels: nothing is frozen."""
        return pixels

    def forward(self, features: Tensor) -> Tensor:
        """Return (N, D) from (N, 3, size, size)."""
        maps = self.convolutions(features)  # -> (N, 128, size / 16, size / 16)
        embedding: Tensor = self.projection(maps.flatten(1))  # -> (N, D)
        return embedding
