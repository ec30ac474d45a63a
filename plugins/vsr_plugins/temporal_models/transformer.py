"""Temporal model `transformer`: a causal transformer over the frames of a story."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vsr_cli.api import BuildContext, VsrError, last_real

from . import TransformerOptions

POSITION_SCALE = 0.02
"""Initial standard deviation of the position embeddings, as in BERT and GPT-2."""


class Transformer(nn.Module):
    """A transformer (Vaswani et al., 2017) with causal attention, pre-norm layers and learned positions.

    Pre-norm (Xiong et al., 2020) trains without a long warm-up. Frames that pad a short context come last, so no real
    frame attends to them. Raises VsrError if the number of heads does not divide the width.
    """

    def __init__(self, options: TransformerOptions, context: BuildContext) -> None:
        super().__init__()
        width, steps = context.width, context.steps
        if width % options.heads:
            raise VsrError(
                f"temporal model transformer: temporal.heads={options.heads} does not divide model.width={width}; "
                "change one of them"
            )
        self.positions = nn.Parameter(POSITION_SCALE * torch.randn(steps, width))
        layer = nn.TransformerEncoderLayer(
            width,
            options.heads,
            options.feedforward or 4 * width,
            options.dropout,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.layers = nn.TransformerEncoder(layer, options.layers, nn.LayerNorm(width), enable_nested_tensor=False)

    def forward(self, frames: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the state after each frame (B, K, D) and after the last real one (B, D), from (B, K, D) and (B, K)."""
        count = frames.shape[1]
        later = torch.ones(count, count, dtype=torch.bool, device=frames.device).triu(1)  # hidden from frame k
        steps: Tensor = self.layers(frames + self.positions[:count], mask=later, is_causal=True)
        return steps, last_real(steps, mask)
