"""The loss term `alignment`: contrastive, between each context frame's image and its text."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ...api import Context
from ...data.batches import Targets
from ...data.prepared_types import Windows
from .term import ForwardPass, Gather, LossTerm, TermRequest

INITIAL_TEMPERATURE = 0.07
"""CLIP's, and its bound of 100 on the inverse (Radford et al. 2021, section 2.5)."""
LARGEST_INVERSE_TEMPERATURE = 100.0


class Alignment(LossTerm):
    """Symmetric cross-entropy over the image-text similarity matrix, with a learnable temperature.

    Radford et al. 2021, "Learning transferable visual models from natural language supervision", figure 3.
    """

    contrastive = True

    def __init__(self) -> None:
        super().__init__()
        self.log_inverse_temperature = nn.Parameter(torch.tensor(math.log(1 / INITIAL_TEMPERATURE)))

    def forward(self, outputs: ForwardPass) -> Tensor:
        """Return the mean over the context frames of a batch (of all processes), a scalar in nats.

        Padded frames are left out. Frames of the same story with identical text are not negatives of each other:
        neither image is a wrong answer to that text. With sliding windows, a frame may also be in a batch repeatedly.
        """
        # At its sharpest the scale is 100, where a product in half precision would be off by tenths of a nat.
        with torch.autocast(outputs.narrative.summary.device.type, enabled=False):
            return self.loss(outputs.narrative.visual, outputs.narrative.text, outputs.context, outputs.gather)

    def loss(self, images: Tensor, texts: Tensor, context: Context, gather: Gather = lambda rows: rows) -> Tensor:
        """Return the loss of frame embeddings (B, K, D), a scalar."""
        mask = gather(context.mask.byte())  # (B, K)
        real = mask.flatten().nonzero()[:, 0]  # (N,), looked up once, as a GPU is waited for
        story = gather(context.story)[:, None].expand_as(mask).flatten()[real]  # (N,)
        text_row = gather(context.text_row).flatten()[real]  # (N,)
        image = functional.normalize(gather(images).flatten(0, 1)[real].float(), dim=-1)  # (N, D)
        text = functional.normalize(gather(texts).flatten(0, 1)[real].float(), dim=-1)  # (N, D)
        scale = self.log_inverse_temperature.exp().clamp(max=LARGEST_INVERSE_TEMPERATURE)
        similarity = scale * image @ text.T  # (N, N)
        twins = (story[:, None] == story) & (text_row[:, None] == text_row)
        twins.fill_diagonal_(False)
        similarity = similarity.masked_fill(twins, -torch.inf)
        answer = torch.arange(len(similarity), device=similarity.device)
        return (functional.cross_entropy(similarity, answer) + functional.cross_entropy(similarity.T, answer)) / 2

    def counts(self, windows: Windows, targets: Targets) -> NDArray[np.int64]:
        """Return the number of context frames of each window that are not padding, (W,)."""
        frames: NDArray[np.int64] = (~windows.repeated[:, :-1]).sum(axis=1)
        return frames


def build(request: TermRequest) -> Alignment:
    """Build the term."""
    return Alignment()
