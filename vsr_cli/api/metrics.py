"""What a metric promises: statistics a window, and a score from any set of windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One window's prediction beside its reference. Texts are in the protocol's one form (see `clean_text`)."""

    story: str
    context_texts: tuple[str, ...]
    predicted_text: str
    reference_text: str
    predicted_image: NDArray[np.uint8]
    """(H, W, 3)."""
    reference_image: NDArray[np.uint8]
    """(H, W, 3)."""


class Metric(Protocol):
    """A score of predictions. Built by `build(options) -> Metric`.

    A metric first reduces each window to a few numbers and then combines any selection of windows, so that a
    corpus score, a floor and a bootstrap over stories all come from one pass with memory that does not grow
    with the images. Raise VsrError from `build` where the metric cannot run here, saying what it lacks and
    how to get it: the table then shows it as unavailable.
    """

    scale: str
    """In words, e.g. "0-100, higher is better"."""
    better: Literal["higher", "lower"]
    signature: str
    """Everything that the score depends on, as sacreBLEU writes it: "case:lc|tok:13a|...|version:2.6.0"."""

    def measure(self, samples: Sequence[Sample]) -> NDArray[np.float64]:
        """Give the statistics (len(samples), S) of some windows, each from its own sample alone."""
        ...

    def combine(self, statistics: NDArray[np.float64]) -> dict[str, float]:
        """Give the scores of the windows whose statistics (n, S) these are, the headline first.

        The headline has the metric's own name; further ones add to it ("rouge", "rouge-1").
        """
        ...
