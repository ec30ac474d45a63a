"""chrF by sacrebleu."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vsr_cli.api import Metric, Sample

from . import ChrfOptions


class Chrf:
    """chrF of the whole corpus (Popovic, 2015; chrF++ with words, 2017), as sacrebleu computes it.

    A window's statistics are its n-grams for each order: the prediction's, the reference's and those matched.
    They add up. sacrebleu gives these counts by functions that it does not name public.
    """

    scale = "0-100, higher is better"
    better: Literal["higher", "lower"] = "higher"
    perfect = 100.0

    def __init__(self, options: ChrfOptions) -> None:
        from sacrebleu.metrics.chrf import CHRF

        self._chrf = CHRF(word_order=options.word_order, lowercase=options.lowercase)
        self._chrf.corpus_score(["a"], [["a"]])  # sacrebleu's signature wants to have seen the number of references
        self.signature = str(self._chrf.get_signature())

    def measure(self, samples: Sequence[Sample]) -> NDArray[np.float64]:
        """Return the counts of each window, (n, 3 * orders)."""
        counts = self._chrf._extract_corpus_statistics(
            [sample.predicted_text for sample in samples], [[sample.reference_text for sample in samples]]
        )
        return np.array(counts, dtype=np.float64).reshape(len(samples), 3 * self._chrf.order)

    def combine(self, statistics: NDArray[np.float64]) -> dict[str, float]:
        """Return chrF."""
        assert len(statistics), "no score without a window"
        total = statistics.sum(axis=0).astype(np.int64).tolist()
        return {"chrf": float(self._chrf._compute_score_from_stats(total).score)}


def build(options: ChrfOptions) -> Metric:
    """Build the metric."""
    return Chrf(options)
