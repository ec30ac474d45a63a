"""The loss term `l1`: the mean absolute error of the generated image, which blurs less than the squared error."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from .term import ForwardPass, LossTerm, TermRequest


class L1(LossTerm):
    """The mean absolute error."""

    compares_images = True

    def forward(self, outputs: ForwardPass) -> Tensor:
        """Return the mean over windows, colors and pixels, a scalar in [0, 1]."""
        return functional.l1_loss(outputs.differentiable_image("l1"), outputs.target.image)


def build(request: TermRequest) -> L1:
    """Build the term."""
    return L1()
