"""ROUGE by rouge-score. Importing it takes seconds: rouge-score imports the whole of nltk."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import version
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vsr_cli.api import Metric, Sample

from . import RougeOptions
from .stems import PorterStems

TYPES = {"rouge": "rougeL", "rouge-1": "rouge1", "rouge-2": "rouge2"}
"""Our names of the scores, and rouge-score's. Each is an F1 (Lin, 2004)."""


class _Tokens:
    """rouge-score's own tokens, those of one text found once."""

    def __init__(self, *, stemmer: bool) -> None:
        from rouge_score.tokenize import tokenize

        stems = PorterStems() if stemmer else None
        self.tokenize = lru_cache(maxsize=1 << 12)(lambda text: tokenize(text, stems))


class Rouge:
    """The mean over windows of each window's F1. The statistics (n, 3): F1 of ROUGE-L, ROUGE-1, ROUGE-2.

    A window whose prediction or reference is empty scores 0. rouge-score's tokens are runs of a-z and 0-9 in
    lower case.
    """

    scale = "0-1, higher is better"
    better: Literal["higher", "lower"] = "higher"

    def __init__(self, options: RougeOptions) -> None:
        from rouge_score.rouge_scorer import RougeScorer

        self._scorer = RougeScorer(list(TYPES.values()), tokenizer=_Tokens(stemmer=options.stemmer))
        stemmer = "porter" if options.stemmer else "no"
        self.signature = (
            f"nrefs:1|case:lc|tok:rouge-score|stemmer:{stemmer}|headline:L-f1|agg:mean"
            f"|version:rouge-score-{version('rouge-score')}"
        )

    def measure(self, samples: Sequence[Sample]) -> NDArray[np.float64]:
        """Give the three F1 of each window, (n, 3)."""
        rows = np.zeros((len(samples), len(TYPES)))
        for row, sample in zip(rows, samples, strict=True):
            scores = self._scorer.score(sample.reference_text, sample.predicted_text)
            row[:] = [scores[kind].fmeasure for kind in TYPES.values()]
        return rows

    def combine(self, statistics: NDArray[np.float64]) -> dict[str, float]:
        """Give the mean F1 of ROUGE-L, ROUGE-1 and ROUGE-2."""
        assert len(statistics), "no score without a window"
        return {name: float(mean) for name, mean in zip(TYPES, statistics.mean(axis=0), strict=True)}


def build(options: RougeOptions) -> Metric:
    """Build the metric."""
    return Rouge(options)
