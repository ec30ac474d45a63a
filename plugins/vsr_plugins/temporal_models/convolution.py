"""Temporal model `tcn`: a temporal convolutional network over the frames of a story."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from vsr_cli.api import BuildContext, last_real

from . import TcnOptions


class Tcn(nn.Module):
    """Blocks of causal convolutions that look back by 1, 2, 4, … frames.

    Bai et al. (2018), "An Empirical Evaluation of Generic Convolutional and Recurrent Networks for Sequence Modeling",
    section 3. The receptive field is 2 * (kernel - 1) * (2 ** blocks - 1) earlier frames: 6 by default.
    """

    def __init__(self, options: TcnOptions, context: BuildContext) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(
                Block(width=context.width, kernel=options.kernel, dilation=2**depth, dropout=options.dropout)
                for depth in range(options.blocks)
            )
        )

    def forward(self, frames: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the state after each frame (B, K, D) and after the last real one (B, D), from (B, K, D) and (B, K)."""
        steps: Tensor = self.blocks(frames.mT).mT  # (B, K, D) -> (B, D, K) -> (B, K, D)
        return steps, last_real(steps, mask)


class Block(nn.Module):
    """Two causal convolutions, each with weight norm, ReLU and dropout, and a residual connection."""

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
            # Padding on the left only makes the convolution causal.
            added = self.dropout(functional.relu(convolution(functional.pad(added, (self.earlier, 0)))))
        return functional.relu(frames + added)
