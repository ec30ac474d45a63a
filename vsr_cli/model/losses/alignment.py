"""The contrastive loss that ties each frame's image to its text."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...api import Context

INITIAL_TEMPERATURE = 0.07
"""CLIP's, and its bound of 100 on the inverse (Radford et al. 2021, section 2.5)."""
LARGEST_INVERSE_TEMPERATURE = 100.0


class Alignment(nn.Module):
    """Symmetric cross-entropy over the image-text similarity matrix, with a learnable temperature.

    Radford et al. 2021, "Learning transferable visual models from natural language supervision", figure 3.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gather: Callable[[Sequence[Tensor]], Sequence[Tensor]] = lambda own: own
        """Puts the rows of all processes together where several train one model, so that their frames are negatives
        of each other. Gradients flow through it. A process alone has all the rows there are."""
        self.log_inverse_temperature = nn.Parameter(torch.tensor(math.log(1 / INITIAL_TEMPERATURE)))

    def forward(self, images: Tensor, texts: Tensor, *, context: Context) -> Tensor:
        """Return the loss, a scalar in nats, of the frames of a batch, from their embeddings (B, K, D).

        Frames that only fill a short context take no part. Frames of the same story with identical text are not
        negatives of each other: neither image is a wrong answer to that text. With sliding windows, one frame
        may be in a batch more than once, too. Where several processes train, each gives the loss of all their frames.
        """
        # At its sharpest the scale is 100, where a product in half precision would be off by tenths of a nat.
        with torch.autocast(images.device.type, enabled=False):
            return self._loss(images, texts, context)

    def gather_without_frames(self, width: int) -> None:
        """Take part in the gathering with no frame of one's own, of width D: the other processes wait for it."""
        none = self.log_inverse_temperature.detach().new_zeros(0)
        self.gather([none.reshape(0, width), none.reshape(0, width), none.long(), none.long()])

    def _loss(self, images: Tensor, texts: Tensor, context: Context) -> Tensor:
        real = context.mask  # (B, K)
        story = context.story[:, None].expand_as(real)[real]  # (N,)
        text_row = context.text_row[real]  # (N,)
        image = functional.normalize(images[real].float(), dim=-1)  # (N, D)
        text = functional.normalize(texts[real].float(), dim=-1)  # (N, D)
        image, text, story, text_row = self.gather([image, text, story, text_row])
        scale = self.log_inverse_temperature.exp().clamp(max=LARGEST_INVERSE_TEMPERATURE)
        similarity = scale * image @ text.T  # (N, N)
        twins = (story[:, None] == story) & (text_row[:, None] == text_row)
        twins.fill_diagonal_(False)
        similarity = similarity.masked_fill(twins, -torch.inf)
        answer = torch.arange(len(similarity), device=similarity.device)
        return (functional.cross_entropy(similarity, answer) + functional.cross_entropy(similarity.T, answer)) / 2
