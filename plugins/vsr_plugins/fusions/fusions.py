"""Fusions: concatenation, bilinear pooling, a gate, cross-attention, and one modality alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from vsr_cli.api import BuildContext, Options, VsrError

from . import BilinearOptions, CrossAttentionOptions


class Concat(nn.Module):
    """A linear layer over the concatenated embeddings of a frame."""

    def __init__(self, options: Options, context: BuildContext) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * context.width, context.width)

    def forward(self, visual: Tensor, text: Tensor) -> Tensor:
        """Return (B, K, D) from two of (B, K, D)."""
        fused: Tensor = self.linear(torch.cat([visual, text], dim=-1))  # (B, K, 2D) -> (B, K, D)
        return fused


class ImageOnly(nn.Module):
    """A linear layer over the image embedding; the text embedding is ignored."""

    def __init__(self, options: Options, context: BuildContext) -> None:
        super().__init__()
        self.linear = nn.Linear(context.width, context.width)

    def forward(self, visual: Tensor, text: Tensor) -> Tensor:
        """Return (B, K, D) from the first of two (B, K, D)."""
        fused: Tensor = self.linear(visual)
        return fused


class TextOnly(ImageOnly):
    """A linear layer over the text embedding; the image embedding is ignored."""

    def forward(self, visual: Tensor, text: Tensor) -> Tensor:
        """Return (B, K, D) from the second of two (B, K, D)."""
        return super().forward(text, visual)


class Bilinear(nn.Module):
    """Low-rank bilinear pooling: both embeddings are projected, multiplied elementwise, and projected back.

    Kim et al. (2017), "Hadamard Product for Low-rank Bilinear Pooling", equation 9.
    """

    def __init__(self, options: BilinearOptions, context: BuildContext) -> None:
        super().__init__()
        width, rank = context.width, options.rank or context.width
        self.visual = nn.Linear(width, rank)
        self.text = nn.Linear(width, rank)
        self.join = nn.Linear(rank, width)

    def forward(self, visual: Tensor, text: Tensor) -> Tensor:
        """Return (B, K, D) from two of (B, K, D)."""
        products = torch.tanh(self.visual(visual)) * torch.tanh(self.text(text))  # (B, K, D) -> (B, K, rank)
        fused: Tensor = self.join(products)  # -> (B, K, D)
        return fused


class Gated(nn.Module):
    """The gated multimodal unit of Arevalo et al. (2017), "Gated Multimodal Units for Information Fusion"."""

    def __init__(self, options: Options, context: BuildContext) -> None:
        super().__init__()
        width = context.width
        self.visual = nn.Linear(width, width)
        self.text = nn.Linear(width, width)
        self.gate = nn.Linear(2 * width, width)

    def forward(self, visual: Tensor, text: Tensor) -> Tensor:
        """Return (B, K, D) from two of (B, K, D)."""
        gate = torch.sigmoid(self.gate(torch.cat([visual, text], dim=-1)))  # 1 is all image; (B, K, 2D) -> (B, K, D)
        return gate * torch.tanh(self.visual(visual)) + (1 - gate) * torch.tanh(self.text(text))


class CrossAttention(nn.Module):
    """Each image attends to the texts of its own and all earlier frames, each text to their images; then `concat`.

    The co-attention of Lu et al. (2019), "ViLBERT", over frames instead of tokens. It is causal: frame k does not
    depend on later frames. Frames that pad a short context come last, so no real frame attends to them.

    Raises VsrError if the number of heads does not divide the width.
    """

    def __init__(self, options: CrossAttentionOptions, context: BuildContext) -> None:
        super().__init__()
        width, heads = context.width, options.heads
        if width % heads:
            raise VsrError(
                f"fusion cross-attention: fusion.heads={heads} does not divide model.width={width}; change one of them"
            )
        self.visual_norm = nn.LayerNorm(width)
        self.text_norm = nn.LayerNorm(width)
        self.visual_reads = CausalAttention(width=width, heads=heads)
        self.text_reads = CausalAttention(width=width, heads=heads)
        self.join = nn.Linear(2 * width, width)

    def forward(self, visual: Tensor, text: Tensor) -> Tensor:
        """Return (B, K, D) from two of (B, K, D); frame k depends on frames 1 to k."""
        images, texts = self.visual_norm(visual), self.text_norm(text)
        visual = visual + self.visual_reads(images, texts)  # (B, K, D)
        text = text + self.text_reads(texts, images)  # (B, K, D)
        fused: Tensor = self.join(torch.cat([visual, text], dim=-1))  # (B, K, 2D) -> (B, K, D)
        return fused


class CausalAttention(nn.Module):
    """Multi-head attention (Vaswani et al., 2017) from each frame to its own and earlier frames of the other kind."""

    def __init__(self, *, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Return the attended values (B, K, D) from (B, K, D) and (B, K, D)."""
        query, key, value = (
            projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, K, D) -> (B, heads, K, D / heads)
            for projected in (self.query(queries), self.key(keys), self.value(keys))
        )
        attended = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        output: Tensor = self.output(attended.transpose(1, 2).flatten(2))  # -> (B, K, D)
        return output
