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
    reads_images = False
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
        return {"chrf": float(self.score_totals(statistics.sum(axis=0)[None], np.array([len(statistics)]))[0])}

    def summands(self, statistics: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the counts."""
        return statistics

    def score_totals(self, totals: NDArray[np.float64], windows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return chrF of some selections, (R,)."""
        scores = [self._chrf._compute_score_from_stats(counts).score for counts in totals.astype(np.int64).tolist()]
        return np.array(scores, dtype=np.float64)


def build(options: ChrfOptions) -> Metric:
    """Build the metric."""
    return Chrf(options)
