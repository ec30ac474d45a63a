"""Fusion by a learned gate."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vsr_cli.api import BuildContext, Options


class Gated(nn.Module):
    """The gated multimodal unit of Arevalo et al. (2017), "Gated Multimodal Units for Information Fusion"."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.visual = nn.Linear(width, width)
        self.text = nn.Linear(width, width)
        self.gate = nn.Linear(2 * width, width)

    def forward(self, visual: Tensor, text: Tensor) -> Tensor:
        """Return (B, K, D) from two of (B, K, D)."""
        share = torch.sigmoid(self.gate(torch.cat([visual, text], dim=-1)))  # of the image; (B, K, 2D) -> (B, K, D)
        return share * torch.tanh(self.visual(visual)) + (1 - share) * torch.tanh(self.text(text))


def build(options: Options, context: BuildContext) -> Gated:
    """Build the fusion."""
    return Gated(context.width)
