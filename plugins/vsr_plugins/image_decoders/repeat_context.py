"""Image decoder `repeat-context`: an image of the context as it stands, most often the last."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from vsr_cli.api import BuildContext, Narrative, Options, mean_over_positions

PIXELS = 3
"""Channels of the features of an encoder without a frozen half, which are the pixels."""


class RepeatContextImageDecoder(nn.Module):
    """Return the image of the context nearest to the mean of all, in the visual encoder's frozen space.

    Of several guesses, the one that is most like the others is the least wrong, as in minimum Bayes risk decoding. A
    frame's weight in the mean is its number in the context: later ones are more like the next. Nothing here trains.
    """

    caution = "the image decoder repeat-context generates no image; it repeats one of the context, most often the last"

    def __init__(self, options: Options, context: BuildContext) -> None:
        super().__init__()
        features = context.visual_features
        self.has_frozen_features = features is not None and not (len(features) == 3 and features[0] == PIXELS)

    def forward(self, narrative: Narrative) -> Tensor:
        """Return (B, 3, H, W) in [0, 1]."""
        chosen = self.choose(narrative)
        return narrative.context.images()[torch.arange(len(chosen)), chosen.cpu()].to(chosen.device)

    def choose(self, narrative: Narrative) -> Tensor:
        """Return the number (B,) of the frame whose image is repeated, from 0."""
        context = narrative.context
        vectors = narrative.visual
        if self.has_frozen_features:
            vectors = mean_over_positions(context.visual.flatten(0, 1)).reshape(*context.mask.shape, -1)
        vectors = functional.normalize(vectors.detach().float(), dim=-1)  # (B, K, d)
        weights = torch.arange(1, vectors.shape[1] + 1, device=vectors.device) * context.mask  # (B, K)
        mean = torch.einsum("bk,bkd->bd", weights.float(), vectors)
        cosines = torch.einsum("bkd,bd->bk", vectors, mean)
        return cosines.masked_fill(~context.mask, -torch.inf).argmax(dim=1)

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the mean squared error of two images (B, 3, H, W), a scalar."""
        return functional.mse_loss(prediction, target)
