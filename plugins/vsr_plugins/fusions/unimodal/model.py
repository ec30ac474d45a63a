"""Fusions that leave one half of each frame out."""

from __future__ import annotations

from torch import Tensor, nn

from vsr_cli.api import BuildContext, Options


class ImageOnly(nn.Module):
    """A linear layer over the image's embedding, as `concat` is one over both."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, visual: Tensor, text: Tensor) -> Tensor:
        """Return (B, K, D) from the first of two (B, K, D)."""
        fused: Tensor = self.linear(visual)
        return fused


class TextOnly(nn.Module):
    """A linear layer over the text's embedding, as `concat` is one over both."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, visual: Tensor, text: Tensor) -> Tensor:
        """Return (B, K, D) from the second of two (B, K, D)."""
        fused: Tensor = self.linear(text)
        return fused


def build_image_only(options: Options, context: BuildContext) -> ImageOnly:
    """Build the fusion that sees images alone."""
    return ImageOnly(context.width)


def build_text_only(options: Options, context: BuildContext) -> TextOnly:
    """Build the fusion that sees texts alone."""
    return TextOnly(context.width)
