"""Style features of images: channel statistics of the feature maps of a convolutional network."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from vsr_cli.api import VsrError

SMALLEST_VARIANCE = 1e-5
"""Added to the variance of a map, for the gradient of a constant map."""

SMALLEST_SCALE = 1e-8
"""Added to the variance in the normalization."""


class WithStyle(nn.Module):
    """The output of a network, and the channel means and deviations of its intermediate feature maps.

    These statistics describe the style of an image: colors, lines and textures (Huang and Belongie, 2017, "Arbitrary
    style transfer in real-time", section 3). Images of a story usually share a style.

    For each resolution the last feature map is used, of the outermost module that returns it; for the last resolution
    the output of the network. Each part is normalized and has the same weight in a cosine.
    """

    def __init__(self, network: nn.Module, *, size: int) -> None:
        """Find the feature maps with one image (1, 3, size, size). Raises VsrError if there are fewer than two."""
        super().__init__()
        self.network = network
        self.levels = levels_of(network, size)
        if len(self.levels) < 2:
            raise VsrError(
                f"visual encoder: {type(network).__name__} has no feature maps of several resolutions; leave "
                "visual.style off, or choose a convolutional network"
            )

    def forward(self, pixels: Tensor) -> Tensor:
        """Return (N, F) of pixels (N, 3, size, size): a mean square of 1 over the F."""
        parts: list[Tensor] = []

        def look(_module: nn.Module, _given: object, output: Tensor) -> None:
            # Computed here, since a later layer may overwrite the map in place.
            variance, mean = torch.var_mean(output, dim=(2, 3), correction=0)
            parts.extend([mean, (variance + SMALLEST_VARIANCE).sqrt()])

        hooks = [self.network.get_submodule(name).register_forward_hook(look) for name in self.levels[:-1]]
        try:
            last: Tensor = self.network(pixels)
        finally:
            for hook in hooks:
                hook.remove()
        return side_by_side([*parts, last])


def side_by_side(parts: list[Tensor]) -> Tensor:
    """Concatenate vectors (N, f) into one (N, F), each normalized to the same length."""
    whole = sum(part.shape[1] for part in parts)
    normal = [functional.layer_norm(part, part.shape[1:], eps=SMALLEST_SCALE) for part in parts]
    return torch.cat([part * (whole / len(parts) / part.shape[1]) ** 0.5 for part in normal], dim=1)


@torch.no_grad()
def levels_of(network: nn.Module, size: int) -> list[str]:
    """Return the names of the modules with the last feature map of each resolution, the finest first."""
    found: dict[int, str] = {}

    def look(name: str, output: object) -> None:
        if not isinstance(output, Tensor) or output.ndim != 4 or output.shape[2] != output.shape[3]:
            return
        side = output.shape[3]
        if side > 1 and (side not in found or name.count(".") <= found[side].count(".")):
            found[side] = name

    hooks = [
        module.register_forward_hook(lambda _module, _given, output, name=name: look(name, output))
        for name, module in network.named_modules()
        if name
    ]
    try:
        network(torch.zeros(1, 3, size, size))
    finally:
        for hook in hooks:
            hook.remove()
    return [found[side] for side in sorted(found, reverse=True)]
