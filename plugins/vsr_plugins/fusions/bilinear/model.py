"""Fusion by a product of the two embeddings."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vsr_cli.api import BuildContext

from . import BilinearOptions


class Bilinear(nn.Module):
    """Low-rank bilinear pooling: both embeddings are projected, multiplied number by number, and projected back.

    Kim et al. (2017), "Hadamard Product for Low-rank Bilinear Pooling", equation 9.
    """

    def __init__(self, *, width: int, rank: int) -> None:
        super().__init__()
        self.visual = nn.Linear(width, rank)
        self.text = nn.Linear(width, rank)
        self.join = nn.Linear(rank, width)

    def forward(self, visual: Tensor, text: Tensor) -> Tensor:
        """Return (B, K, D) from two of (B, K, D)."""
        products = torch.tanh(self.visual(visual)) * torch.tanh(self.text(text))  # (B, K, D) -> (B, K, rank)
        fused: Tensor = self.join(products)  # -> (B, K, D)
        return fused


def build(options: BilinearOptions, context: BuildContext) -> Bilinear:
    """Build the fusion."""
    return Bilinear(width=context.width, rank=options.rank or context.width)
