"""The loss term `image`: the image decoder's own loss, a mean over windows."""

from __future__ import annotations

from torch import Tensor

from ...api import GenerativeImageDecoder
from .term import ForwardPass, LossTerm, TermRequest


class ImageLoss(LossTerm):
    """The image decoder's loss, usually the mean squared error."""

    computed_by = "image_decoder"

    def __init__(self, *, reads_text: bool) -> None:
        super().__init__()
        self.needs_target_features = reads_text

    def forward(self, outputs: ForwardPass) -> Tensor:
        """Return the mean over windows, a scalar."""
        decoder = outputs.parts.image_decoder
        if isinstance(decoder, GenerativeImageDecoder):
            return decoder.loss(outputs.narrative, outputs.true_text, outputs.target.image)
        return decoder.loss(outputs.image, outputs.target.image)


def build(request: TermRequest) -> ImageLoss:
    """Build the term. A generative image decoder reads the true text."""
    return ImageLoss(reads_text=isinstance(request.parts.image_decoder, GenerativeImageDecoder))
