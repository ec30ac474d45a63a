"""Fusion by concatenation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vsr_cli.api import BuildContext, Options


class Concat(nn.Module):
    """A linear layer over the two embeddings of a frame side by side."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * width, width)

    def forward(self, visual: Tensor, text: Tensor) -> Tensor:
        """Return (B, K, D) from two of (B, K, D)."""
        fused: Tensor = self.linear(torch.cat([visual, text], dim=-1))  # (B, K, 2D) -> (B, K, D)
        return fused


def build(options: Options, context: BuildContext) -> Concat:
    """Build the fusion."""
    return Concat(context.width)
