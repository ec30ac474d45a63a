"""The loss term `text`: the text decoder's own loss, a mean over target tokens."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ...data.batches import Targets
from ...data.prepared_types import Windows
from .term import ForwardPass, LossTerm, TermRequest


class TextLoss(LossTerm):
    """The text decoder's loss, usually the cross-entropy of the next text."""

    computed_by = "text_decoder"

    def forward(self, outputs: ForwardPass) -> Tensor:
        """Return the mean over target tokens, a scalar."""
        return outputs.parts.text_decoder.loss(outputs.narrative, outputs.target.ids, outputs.target.mask)

    def counts(self, windows: Windows, targets: Targets) -> NDArray[np.int64]:
        """Return the number of target tokens of each window, (W,)."""
        return targets.counts


def build(request: TermRequest) -> TextLoss:
    """Build the term."""
    return TextLoss()
