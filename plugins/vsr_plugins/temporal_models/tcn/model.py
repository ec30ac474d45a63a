"""A temporal convolutional network over the frames of a story."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from vsr_cli.api import BuildContext, last_real

from . import TcnOptions


class Tcn(nn.Module):
    """Blocks of causal convolutions that look back by 1, 2, 4, … frames.

    Bai et al. (2018), "An Empirical Evaluation of Generic Convolutional and Recurrent Networks for Sequence Modeling",
    section 3. A state sees 2 * (kernel - 1) * (2 ** blocks - 1) frames before its own: 6 by default, so all four.
    """

    def __init__(self, *, width: int, options: TcnOptions) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(
                Block(width=width, kernel=options.kernel, dilation=2**depth, dropout=options.dropout)
                for depth in range(options.blocks)
            )
        )

    def forward(self, frames: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the state after each frame (B, K, D) and after the last real one (B, D), from (B, K, D) and (B, K)."""
        steps: Tensor = self.blocks(frames.mT).mT  # (B, K, D) -> (B, D, K) -> (B, K, D)
        return steps, last_real(steps, mask)


class Block(nn.Module):
    """Two causal convolutions, each with weight norm, rectifier and dropout, added to what the block was given."""

    def __init__(self, *, width: int, kernel: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.earlier = (kernel - 1) * dilation
        self.convolutions = nn.ModuleList(
            weight_norm(nn.Conv1d(width, width, kernel, dilation=dilation)) for _ in range(2)
        )
        self.dropout = nn.Dropout1d(dropout)

    def forward(self, frames: Tensor) -> Tensor:
        """Return (B, D, K) from (B, D, K)."""
        added = frames
        for convolution in self.convolutions:
            # Zeros before the first frame and none after the last: a state never sees what follows it.
            added = self.dropout(functional.relu(convolution(functional.pad(added, (self.earlier, 0)))))
        return functional.relu(frames + added)


def build(options: TcnOptions, context: BuildContext) -> Tcn:
    """Build the model."""
    return Tcn(width=context.width, options=options)
