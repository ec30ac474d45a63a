"""Temporal models that forget something on purpose."""

from __future__ import annotations

from torch import Tensor, nn

from vsr_cli.api import BuildContext, last_real

from . import PoolingOptions


class Mean(nn.Module):
    """The mean of the real frames so far through one hidden layer: what is left of a story without its order."""

    def __init__(self, *, width: int, hidden: int) -> None:
        super().__init__()
        self.layers = hidden_layer(width=width, hidden=hidden)

    def forward(self, frames: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the state after each frame (B, K, D) and after all (B, D), from (B, K, D) and (B, K)."""
        real = mask.unsqueeze(-1).to(frames.dtype)  # (B, K) -> (B, K, 1)
        means = (frames * real).cumsum(1) / real.cumsum(1).clamp(min=1)  # (B, K, D)
        steps: Tensor = self.layers(means)
        return steps, steps[:, -1]


class Last(nn.Module):
    """Each frame by itself through one hidden layer: what is left of a story without its past."""

    def __init__(self, *, width: int, hidden: int) -> None:
        super().__init__()
        self.layers = hidden_layer(width=width, hidden=hidden)

    def forward(self, frames: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the state of each frame (B, K, D) and of the last real one (B, D), from (B, K, D) and (B, K)."""
        steps: Tensor = self.layers(frames)
        return steps, last_real(steps, mask)


def hidden_layer(*, width: int, hidden: int) -> nn.Sequential:
    """Make the layers from a mean or a frame to a state."""
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))


def build_mean(options: PoolingOptions, context: BuildContext) -> Mean:
    """Build the mean."""
    return Mean(width=context.width, hidden=options.hidden or context.width)


def build_last(options: PoolingOptions, context: BuildContext) -> Last:
    """Build the last frame's."""
    return Last(width=context.width, hidden=options.hidden or context.width)
