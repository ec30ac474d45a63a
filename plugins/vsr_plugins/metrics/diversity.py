"""Diversity of predicted texts: distinct n-grams, repetition within a text, and overlap with the context."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from vsr_cli.api import MeanOfWindows, Metric, Options, Sample, copied_share, ngrams, split_words

from .tokens import require_words

LONGEST = 256
"""Maximum number of n-grams of a text that count."""
RUN = 4
"""Words per n-gram that counts as repeated or copied."""


class Distinct:
    """Distinct n-grams over all n-grams of all predictions (Li et al., 2016): low if all predictions are similar.

    The statistics are 32-bit checksums of the n-grams of a window, (n, 256), padded with -1. A window that is sampled
    twice adds no distinct n-gram, so a bootstrap with replacement would be biased.
    """

    scale = "0-1, higher is more varied"
    reads_images = False
    better: Literal["higher", "lower"] = "higher"
    resampled = False

    def __init__(self, n: int) -> None:
        self._n = n
        self._name = f"distinct-{n}"
        self.signature = f"n:{n}|case:lc|tok:words|first:{LONGEST}|interval:none"

    def read_references(self, references: Sequence[str]) -> None:
        """Raise VsrError if they hold no word."""
        require_words(self._name, references)

    def measure(self, samples: Sequence[Sample]) -> NDArray[np.float64]:
        """Return the checksums of each window's n-grams, (n, 256)."""
        rows = np.full((len(samples), LONGEST), -1.0)
        for row, sample in zip(rows, samples, strict=True):
            found = [crc32(" ".join(run).encode()) for run in ngrams(split_words(sample.predicted_text), self._n)]
            row[: len(found[:LONGEST])] = found[:LONGEST]
        return rows

    def combine(self, statistics: NDArray[np.float64]) -> dict[str, float]:
        """Return the share of distinct n-grams; 0 if there are none."""
        assert len(statistics), "no score without a window"
        found = statistics[statistics >= 0]
        return {self._name: len(np.unique(found)) / len(found) if len(found) else 0.0}


class Rep4(MeanOfWindows):
    """The mean over windows of the share of 4-grams of a prediction that occur earlier in it.

    Welleck et al. (2020), "Neural text generation with unlikelihood training", call it seq-rep-4. The statistics
    (n, 3): for 4-grams, unigrams and bigrams.
    """

    scale = "0-1, lower is better"
    reads_images = False
    better: Literal["higher", "lower"] = "lower"
    signature = f"n:{RUN}|case:lc|tok:words|agg:mean"

    def read_references(self, references: Sequence[str]) -> None:
        """Raise VsrError if they hold no word."""
        require_words("rep-4", references)

    def measure(self, samples: Sequence[Sample]) -> NDArray[np.float64]:
        """Return the three shares of each window, (n, 3); 0 where a text is too short."""
        texts = [split_words(sample.predicted_text) for sample in samples]
        rows = [[_repeated(list(ngrams(text, n))) for n in (RUN, 1, 2)] for text in texts]
        return np.array(rows, dtype=np.float64).reshape(-1, 3)

    def combine(self, statistics: NDArray[np.float64]) -> dict[str, float]:
        """Return the mean shares."""
        assert len(statistics), "no score without a window"
        names = ("rep-4", "rep-4-unigrams", "rep-4-bigrams")
        return {name: float(mean) for name, mean in zip(names, statistics.mean(axis=0), strict=True)}


class ContextOverlap(MeanOfWindows):
    """The mean over windows of the share of 4-grams of a prediction that occur in its context.

    The statistics (n, 2): for 4-grams and for unigrams. The upper bound is that of the references.
    """

    scale = "0-1, lower is less copied"
    reads_images = False
    better: Literal["higher", "lower"] = "lower"
    signature = f"n:{RUN}|case:lc|tok:words|agg:mean"

    def read_references(self, references: Sequence[str]) -> None:
        """Raise VsrError if they hold no word."""
        require_words("context-overlap-4", references)

    def measure(self, samples: Sequence[Sample]) -> NDArray[np.float64]:
        """Return the two shares of each window, (n, 2); 0 where a text is too short."""
        rows = [[copied_share(each.predicted_text, each.context_texts, n=n) for n in (RUN, 1)] for each in samples]
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    def combine(self, statistics: NDArray[np.float64]) -> dict[str, float]:
        """Return the mean shares."""
        assert len(statistics), "no score without a window"
        names = ("context-overlap-4", "context-overlap-4-unigrams")
        return {name: float(mean) for name, mean in zip(names, statistics.mean(axis=0), strict=True)}


def _repeated(runs: list[tuple[str, ...]]) -> float:
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def build_distinct_1(options: Options) -> Metric:
    """Build distinct-1."""
    return Distinct(1)


def build_distinct_2(options: Options) -> Metric:
    """Build distinct-2."""
    return Distinct(2)


def build_rep_4(options: Options) -> Metric:
    """Build rep-4."""
    return Rep4()


def build_context_overlap(options: Options) -> Metric:
    """Build context-overlap-4."""
    return ContextOverlap()
