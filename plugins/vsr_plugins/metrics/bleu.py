"""Corpus BLEU by sacrebleu."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from vsr_cli.api import Metric, Sample, VsrError

from . import BleuOptions
from .tokens import bleu_tokenizer

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEUScore

ORDER = 4
"""The longest n-gram counted: BLEU-4, sacrebleu's default."""


class Bleu:
    """BLEU of the whole corpus (Papineni et al., 2002), as sacrebleu computes it.

    A window's statistics are its system length, its reference length, and its matched and its possible n-grams
    for n = 1 to 4: ten counts. They add up, so any set of windows scores exactly what sacrebleu gives them. Unless the
    options name a tokenizer, it is chosen by the scripts of the references.
    """

    scale = "0-100, higher is better"
    reads_images = False
    better: Literal["higher", "lower"] = "higher"
    perfect = 100.0

    def __init__(self, options: BleuOptions, *, name: str, lowercase: bool) -> None:
        self._name = name
        self._lowercase = lowercase
        self._options = options
        self._undecided = options.tokenize == "auto"
        self._tokenize_by("13a" if options.tokenize == "auto" else options.tokenize)

    def read_references(self, references: Sequence[str]) -> None:
        """Choose the tokenizer. Raises VsrError if it finds no token in any reference."""
        if self._options.tokenize == "auto":
            self._tokenize_by(bleu_tokenizer(references))
            self._undecided = False
        if not any(map(self._counter.tokenizer, references)):
            raise VsrError(f"{self._name}: the references are empty; there is nothing to compare with")

    def _tokenize_by(self, tokenizer: str) -> None:
        from sacrebleu.metrics.bleu import BLEU

        # Some smoothings add to the counts, so none is used here: the sums are smoothed once, over the corpus.
        self._counter = BLEU(tokenize=tokenizer, lowercase=self._lowercase, smooth_method="none")
        self._compute = BLEU.compute_bleu
        scorer = BLEU(tokenize=tokenizer, lowercase=self._lowercase, smooth_method=self._options.smooth)
        scorer.corpus_score(["a"], [["a"]])  # sacrebleu's signature wants to have seen the number of references
        self.signature = str(scorer.get_signature())

    def measure(self, samples: Sequence[Sample]) -> NDArray[np.float64]:
        """Return the ten counts of each window, (n, 10).

        Where nobody has read references before, those of the first windows choose the tokenizer.
        """
        if self._undecided and samples:
            self._tokenize_by(bleu_tokenizer([sample.reference_text for sample in samples]))
            self._undecided = False
        rows = np.zeros((len(samples), 2 + 2 * ORDER))
        for row, sample in zip(rows, samples, strict=True):
            score = self._counter.corpus_score([sample.predicted_text], [[sample.reference_text]])
            row[:] = [score.sys_len, score.ref_len, *score.counts, *score.totals]
        return rows

    def combine(self, statistics: NDArray[np.float64]) -> dict[str, float]:
        """Return BLEU, its four (smoothed) n-gram precisions, its brevity penalty and the length ratio.

        The precisions are not BLEU-1 to BLEU-4: those are geometric means up to n, the last is the headline.
        """
        assert len(statistics), "no score without a window"
        score = self._score(statistics.sum(axis=0))
        precisions = {f"{self._name}-precision-{n}": float(p) for n, p in enumerate(score.precisions, start=1)}
        return {
            self._name: float(score.score),
            **precisions,
            f"{self._name}-brevity-penalty": float(score.bp),
            f"{self._name}-length-ratio": float(score.ratio),
        }

    def summands(self, statistics: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the ten counts, (n, 10)."""
        return statistics

    def score_totals(self, totals: NDArray[np.float64], windows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return BLEU of some selections, (R,)."""
        return np.array([self._score(counts).score for counts in totals], dtype=np.float64)

    def _score(self, totals: NDArray[np.float64]) -> BLEUScore:
        system, reference, *counts = (int(count) for count in totals)
        return self._compute(
            correct=counts[:ORDER],
            total=counts[ORDER:],
            sys_len=system,
            ref_len=reference,
            smooth_method=self._options.smooth,
        )


def build(options: BleuOptions) -> Metric:
    """Build BLEU with sacrebleu's default, which distinguishes case."""
    return Bleu(options, name="bleu", lowercase=False)


def build_lower(options: BleuOptions) -> Metric:
    """Build BLEU in lower case."""
    return Bleu(options, name="bleu-lower", lowercase=True)
