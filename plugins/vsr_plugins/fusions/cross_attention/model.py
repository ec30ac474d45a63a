"""Fusion in which images look at texts and texts at images."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from vsr_cli.api import BuildContext, VsrError

from . import CrossAttentionOptions


class CrossAttention(nn.Module):
    """Each image attends to the texts of its own and all earlier frames, each text to their images; then `concat`.

    The co-attention of Lu et al. (2019), "ViLBERT", with frames for tokens. Nothing later than a frame changes what
    comes of it, so that a temporal model's states stay free of what follows them. Frames that fill a short context
    stand at its end, so that no real frame attends to them either.
    """

    def __init__(self, *, width: int, heads: int) -> None:
        super().__init__()
        self.visual_norm = nn.LayerNorm(width)
        self.text_norm = nn.LayerNorm(width)
        self.visual_reads = Reading(width=width, heads=heads)
        self.text_reads = Reading(width=width, heads=heads)
        self.join = nn.Linear(2 * width, width)

    def forward(self, visual: Tensor, text: Tensor) -> Tensor:
        """Return (B, K, D) from two of (B, K, D); frame k depends on frames 1 to k."""
        shown, told = self.visual_norm(visual), self.text_norm(text)
        visual = visual + self.visual_reads(shown, told)  # (B, K, D)
        text = text + self.text_reads(told, shown)  # (B, K, D)
        fused: Tensor = self.join(torch.cat([visual, text], dim=-1))  # (B, K, 2D) -> (B, K, D)
        return fused


class Reading(nn.Module):
    """Attention of several heads (Vaswani et al., 2017) from each frame to itself and those before it."""

    def __init__(self, *, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def forward(self, readers: Tensor, read: Tensor) -> Tensor:
        """Return what each of the readers (B, K, D) takes from the frames (B, K, D) up to its own, (B, K, D)."""
        query, key, value = (
            projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, K, D) -> (B, heads, K, D / heads)
            for projected in (self.query(readers), self.key(read), self.value(read))
        )
        taken = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        output: Tensor = self.output(taken.transpose(1, 2).flatten(2))  # -> (B, K, D)
        return output


def build(options: CrossAttentionOptions, context: BuildContext) -> CrossAttention:
    """Build the fusion. Raises VsrError if the heads do not share the width evenly."""
    if context.width % options.heads:
        raise VsrError(
            f"fusion cross-attention: {options.heads} heads cannot share a width of {context.width} evenly; "
            "choose other fusion.heads or another model.width"
        )
    return CrossAttention(width=context.width, heads=options.heads)
