"""A transformer over the frames of a story."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vsr_cli.api import BuildContext, VsrError, last_real

from . import TransformerOptions

POSITION_SCALE = 0.02
"""Standard deviation of positions at first, as in BERT and GPT-2."""


class Transformer(nn.Module):
    """A transformer (Vaswani et al., 2017) whose frames attend to themselves and those before them.

    Norms come before each part of a layer (Xiong et al., 2020), so that it trains without a long warm-up. Each place in
    the context has a learned position. What fills a short context stands at its end, where no real frame attends to it.
    """

    def __init__(self, *, width: int, steps: int, options: TransformerOptions) -> None:
        super().__init__()
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
        later = torch.ones(count, count, dtype=torch.bool, device=frames.device).triu(1)  # what frame k may not see
        steps: Tensor = self.layers(frames + self.positions[:count], mask=later, is_causal=True)
        return steps, last_real(steps, mask)


def build(options: TransformerOptions, context: BuildContext) -> Transformer:
    """Build the model. Raises VsrError if the heads do not share the width evenly."""
    if context.width % options.heads:
        raise VsrError(
            f"temporal model transformer: {options.heads} heads cannot share a width of {context.width} evenly; "
            "choose other temporal.heads or another model.width"
        )
    return Transformer(width=context.width, steps=context.steps, options=options)
