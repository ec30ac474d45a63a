"""Recurrent temporal models: `gru`, `lstm`, `rnn`, and a GRU with attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vsr_cli.api import BuildContext, last_real
from vsr_cli.api.recurrence import run_recurrent

from . import RecurrentOptions


class Recurrent(nn.Module):
    """A GRU (Cho et al., 2014), LSTM (Hochreiter and Schmidhuber, 1997) or Elman network (1990) over the frames.

    Frames that pad a short context come last, so they do not reach the states of real frames.
    """

    def __init__(
        self, kind: type[nn.GRU] | type[nn.LSTM] | type[nn.RNN], *, width: int, options: RecurrentOptions
    ) -> None:
        super().__init__()
        self.dropout = nn.Dropout(options.dropout)
        # PyTorch applies this dropout between layers only, and warns if there is a single one.
        between = options.dropout if options.layers > 1 else 0.0
        self.recurrent = kind(width, width, options.layers, batch_first=True, dropout=between)

    def forward(self, frames: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the top layer's state after each frame (B, K, D) and after the last real one (B, D)."""
        steps: Tensor = run_recurrent(self.recurrent, self.dropout(frames))[0]
        return steps, last_real(steps, mask)


class AttentionGru(nn.Module):
    """A GRU whose last real state attends to all real states.

    The global attention of Luong et al. (2015), "Effective Approaches to Attention-based Neural Machine Translation",
    with their `general` score; the query is the last state of the same GRU.
    """

    def __init__(self, options: RecurrentOptions, context: BuildContext) -> None:
        super().__init__()
        width = context.width
        self.gru = Recurrent(nn.GRU, width=width, options=options)
        self.query = nn.Linear(width, width, bias=False)
        self.join = nn.Linear(2 * width, width)

    def forward(self, frames: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the GRU's state after each frame (B, K, D) and the summary (B, D), from (B, K, D) and (B, K)."""
        steps, _ = self.gru(frames, mask)
        last = last_real(steps, mask)  # (B, D)
        scores = steps @ self.query(last).unsqueeze(-1)  # (B, K, D) @ (B, D, 1) -> (B, K, 1)
        weights = scores.masked_fill(~mask.unsqueeze(-1), -torch.inf).softmax(dim=1)  # (B, K, 1)
        attended = (weights * steps).sum(dim=1)  # -> (B, D)
        return steps, torch.tanh(self.join(torch.cat([attended, last], dim=-1)))  # (B, 2D) -> (B, D)


def build_gru(options: RecurrentOptions, context: BuildContext) -> Recurrent:
    """Build a GRU."""
    return Recurrent(nn.GRU, width=context.width, options=options)


def build_lstm(options: RecurrentOptions, context: BuildContext) -> Recurrent:
    """Build an LSTM."""
    return Recurrent(nn.LSTM, width=context.width, options=options)


def build_rnn(options: RecurrentOptions, context: BuildContext) -> Recurrent:
    """Build an Elman network."""
    return Recurrent(nn.RNN, width=context.width, options=options)
