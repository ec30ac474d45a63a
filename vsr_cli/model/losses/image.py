"""The loss term `image`: the image decoder's own loss, a mean over windows."""

from __future__ import annotations

from torch import Tensor

from .term import ForwardPass, LossTerm, TermRequest


class ImageLoss(LossTerm):
    """The image decoder's loss, usually the mean squared error."""

    computed_by = "image_decoder"

    def forward(self, outputs: ForwardPass) -> Tensor:
        """Return the mean over windows, a scalar."""
        return outputs.parts.image_decoder.loss(outputs.image, outputs.target.image)


def build(request: TermRequest) -> ImageLoss:
    """Build the term."""
    return ImageLoss()
