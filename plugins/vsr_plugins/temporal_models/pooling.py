"""Temporal models `mean` and `last`: baselines that ignore the order of the frames, or all but the last."""

from __future__ import annotations

from torch import Tensor, nn

from vsr_cli.api import BuildContext, last_real

from . import PoolingOptions


class Last(nn.Module):
    """Each frame by itself through one hidden layer: a story without its past."""

    def __init__(self, options: PoolingOptions, context: BuildContext) -> None:
        super().__init__()
        width, hidden = context.width, options.hidden or context.width
        self.layers = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))

    def forward(self, frames: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the state of each frame (B, K, D) and of the last real one (B, D), from (B, K, D) and (B, K)."""
        steps: Tensor = self.layers(frames)
        return steps, last_real(steps, mask)


class Mean(Last):
    """The mean of the real frames so far through one hidden layer: a story without its order."""

    def forward(self, frames: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the state after each frame (B, K, D) and after all (B, D), from (B, K, D) and (B, K)."""
        real = mask.unsqueeze(-1).to(frames.dtype)  # (B, K) -> (B, K, 1)
        means = (frames * real).cumsum(1) / real.cumsum(1).clamp(min=1)  # (B, K, D)
        steps: Tensor = self.layers(means)
        return steps, steps[:, -1]
