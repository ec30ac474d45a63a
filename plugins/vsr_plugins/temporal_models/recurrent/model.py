"""Recurrent temporal models."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vsr_cli.api import BuildContext, last_real

from . import RecurrentOptions


class Recurrent(nn.Module):
    """A GRU (Cho et al., 2014), LSTM (Hochreiter and Schmidhuber, 1997) or plain network (Elman, 1990).

    It reads the frames in order. The repeats that fill a short context come last, so that they reach no real state.
    """

    def __init__(
        self, kind: type[nn.GRU] | type[nn.LSTM] | type[nn.RNN], *, width: int, options: RecurrentOptions
    ) -> None:
        super().__init__()
        self.dropout = nn.Dropout(options.dropout)
        # PyTorch's own dropout lies between layers only, and warns where there is but one.
        between = options.dropout if options.layers > 1 else 0.0
        self.recurrent = kind(width, width, options.layers, batch_first=True, dropout=between)

    def forward(self, frames: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the top layer's state after each frame (B, K, D) and after the last real one (B, D)."""
        steps: Tensor = self.recurrent(self.dropout(frames))[0]
        return steps, last_real(steps, mask)


class AttentionGru(nn.Module):
    """A GRU whose last real state asks all real states what mattered.

    The global attention of Luong et al. (2015), "Effective Approaches to Attention-based Neural Machine Translation",
    with their `general` score, where the state that asks is the encoder's own.
    """

    def __init__(self, *, width: int, options: RecurrentOptions) -> None:
        super().__init__()
        self.gru = Recurrent(nn.GRU, width=width, options=options)
        self.query = nn.Linear(width, width, bias=False)
        self.join = nn.Linear(2 * width, width)

    def forward(self, frames: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the GRU's state after each frame (B, K, D) and the summary (B, D), from (B, K, D) and (B, K)."""
        steps, _ = self.gru(frames, mask)
        last = last_real(steps, mask)  # (B, D)
        scores = steps @ self.query(last).unsqueeze(-1)  # (B, K, D) @ (B, D, 1) -> (B, K, 1)
        shares = scores.masked_fill(~mask.unsqueeze(-1), -torch.inf).softmax(dim=1)  # (B, K, 1)
        attended = (shares * steps).sum(dim=1)  # -> (B, D)
        return steps, torch.tanh(self.join(torch.cat([attended, last], dim=-1)))  # (B, 2D) -> (B, D)


def build_gru(options: RecurrentOptions, context: BuildContext) -> Recurrent:
    """Build a GRU."""
    return Recurrent(nn.GRU, width=context.width, options=options)


def build_lstm(options: RecurrentOptions, context: BuildContext) -> Recurrent:
    """Build an LSTM."""
    return Recurrent(nn.LSTM, width=context.width, options=options)


def build_rnn(options: RecurrentOptions, context: BuildContext) -> Recurrent:
    """Build a plain recurrent network."""
    return Recurrent(nn.RNN, width=context.width, options=options)


def build_attention_gru(options: RecurrentOptions, context: BuildContext) -> AttentionGru:
    """Build a GRU with attention."""
    return AttentionGru(width=context.width, options=options)
