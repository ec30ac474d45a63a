"""Recurrent temporal models."""

from __future__ import annotations

from torch import Tensor, nn

from vsr_cli.api import BuildContext

from . import RecurrentOptions


class Recurrent(nn.Module):
    """A GRU (Cho et al., 2014) or LSTM (Hochreiter and Schmidhuber, 1997) that reads the frames in order.

    It reads the repeats that fill a short context like any other frame.
    """

    def __init__(self, kind: type[nn.GRU] | type[nn.LSTM], *, width: int, options: RecurrentOptions) -> None:
        super().__init__()
        self.dropout = nn.Dropout(options.dropout)
        # PyTorch's own dropout lies between layers only, and warns where there is but one.
        between = options.dropout if options.layers > 1 else 0.0
        self.recurrent = kind(width, width, options.layers, batch_first=True, dropout=between)

    def forward(self, frames: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Give the top layer's state after each frame (B, K, D) and after the last (B, D), from (B, K, D)."""
        steps: Tensor = self.recurrent(self.dropout(frames))[0]
        return steps, steps[:, -1]


def build_gru(options: RecurrentOptions, context: BuildContext) -> Recurrent:
    """Build a GRU."""
    return Recurrent(nn.GRU, width=context.width, options=options)


def build_lstm(options: RecurrentOptions, context: BuildContext) -> Recurrent:
    """Build an LSTM."""
    return Recurrent(nn.LSTM, width=context.width, options=options)
