"""Style features of an image: statistics of the feature maps of a network."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from vsr_cli.api import VsrError

SMALLEST_VARIANCE = 1e-5
"""Added to that of a map, so that one of a single colour has a gradient too."""

SMALLEST_SCALE = 1e-8
"""Added to the variance of a part that is normalised."""


class WithStyle(nn.Module):
    """A network's vector, and beside it the mean and the deviation of each channel of the maps on the way to it.

    Those statistics say how an image is drawn: its colours, lines and textures (Huang and Belongie, 2017, "Arbitrary
    style transfer in real-time", section 3). Images of a story are mostly drawn alike, and unlike those of others.

    Of each resolution the last map counts, of the outermost module that gives it; of the last resolution the network's
    own vector stands for it. Every part is normalised, and counts alike in a cosine, however many channels it has.
    """

    def __init__(self, network: nn.Module, *, size: int) -> None:
        """Find the levels by one image (1, 3, size, size). Raises VsrError if there are fewer than two."""
        super().__init__()
        self.network = network
        self.levels = levels_of(network, size)
        if len(self.levels) < 2:
            raise VsrError(
                f"visual encoder: {type(network).__name__} has no maps of several resolutions, from which to tell how "
                "an image is drawn; leave visual.style off, or take a convolutional network"
            )

    def forward(self, pixels: Tensor) -> Tensor:
        """Return (N, F) of pixels (N, 3, size, size): a mean square of 1 over the F."""
        parts: list[Tensor] = []

        def look(_module: nn.Module, _given: object, output: Tensor) -> None:
            # Now, rather than of maps that are used: a later layer may write over them.
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
    """Join vectors (N, f) of several kinds into one (N, F), each normalised and as long as the others."""
    whole = sum(part.shape[1] for part in parts)
    normal = [functional.layer_norm(part, part.shape[1:], eps=SMALLEST_SCALE) for part in parts]
    return torch.cat([part * (whole / len(parts) / part.shape[1]) ** 0.5 for part in normal], dim=1)


@torch.no_grad()
def levels_of(network: nn.Module, size: int) -> list[str]:
    """Name the module that gives the last map of each resolution, the finest first."""
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
