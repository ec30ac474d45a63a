"""A temporal model that ignores the order of the frames."""

from __future__ import annotations

from torch import Tensor, nn

from vsr_cli.api import BuildContext

from . import MeanMemoryOptions


class MeanMemory(nn.Module):
    """The mean of the real frames, and one hidden layer: the story without its order."""

    def __init__(self, options: MeanMemoryOptions, context: BuildContext) -> None:
        super().__init__()
        width, hidden = context.width, options.hidden
        self.layers = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))

    def forward(self, frames: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the state after each frame (B, K, D) and the summary (B, D), from (B, K, D) and the mask (B, K)."""
        real = mask.unsqueeze(-1).to(frames.dtype)  # (B, K) -> (B, K, 1)
        count = real.cumsum(1).clamp(min=1)  # real frames so far, (B, K, 1)
        means = (frames * real).cumsum(1) / count  # of the frames so far, (B, K, D)
        steps: Tensor = self.layers(means)  # -> (B, K, D)
        return steps, steps[:, -1]  # the last mean is over all real frames
