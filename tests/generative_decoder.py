"""A small image decoder that reads the next text and samples from a seed: a plugin of the tests."""

import torch
from torch import nn
from torch.nn import functional

from vsr_cli.api import BuildContext, Component, Narrative, NextText, Options
from vsr_cli.api.generation import random_generators
from vsr_cli.plugin.registry import Provided

NOISE = 8


class TextPainter(nn.Module):
    """Flow matching in one step: blocks of color from the words of the text, the summary and noise."""

    def __init__(self, options: Options, context: BuildContext) -> None:
        super().__init__()
        assert context.visual_features is not None
        assert context.text_features is not None
        self.image_size = context.image_size
        self.words = nn.Embedding(len(context.vocabulary), context.width)
        self.layer = nn.Linear(2 * context.width + NOISE, 3 * 4 * 4)

    def paint(self, narrative: Narrative, text: NextText, noise: torch.Tensor) -> torch.Tensor:
        """Return images (B, 3, H, W) in [0, 1] from noise (B, NOISE)."""
        real = text.mask[..., None]
        words = (self.words(text.ids) * real).sum(1) / real.sum(1).clamp(min=1)  # (B, L, D) -> (B, D)
        blocks = self.layer(torch.cat([words, narrative.summary, noise], dim=1)).sigmoid().unflatten(1, (3, 4, 4))
        return functional.interpolate(blocks, self.image_size)

    def loss(self, narrative: Narrative, text: NextText, target: torch.Tensor) -> torch.Tensor:
        """Return the mean squared error of the image that noise of its own leads to."""
        return functional.mse_loss(self.paint(narrative, text, self._noise(narrative, 0)), target)

    def generate(self, narrative: Narrative, text: NextText, seed: int) -> torch.Tensor:
        """Return (B, 3, H, W) in [0, 1]."""
        return self.paint(narrative, text, self._noise(narrative, seed))

    def _noise(self, narrative: Narrative, seed: int) -> torch.Tensor:
        generators = random_generators(narrative.context, seed=seed)
        noise = torch.stack([torch.randn(NOISE, generator=generator) for generator in generators])
        return noise.to(narrative.summary.device)


PROVIDED = Provided(
    "image_decoder",
    Component(name="text-painter", summary="reads the text", build=f"{__name__}:TextPainter"),
    "painting",
    "painting 1.0",
)
