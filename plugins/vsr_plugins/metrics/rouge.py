"""ROUGE by rouge-score. Importing it takes seconds, because rouge-score imports all of nltk."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import version
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vsr_cli.api import MeanOfWindows, Metric, Sample, split_words

from . import RougeOptions
from .tokens import PorterStems, require_words, stemmer_of

APART = str.maketrans("'’_", "   ")
"""rouge-score has no words with these in them."""
NAMES = ("rouge", "rouge-1", "rouge-2")
"""ROUGE-L, ROUGE-1 and ROUGE-2. Each is an F1 (Lin, 2004)."""


LONGEST_UNSTEMMED = 3
"""Characters: rouge-score leaves shorter words as they are."""


class _Tokens:
    """The tokens of a text in any script, those of one text found once: for ASCII they are rouge-score's own."""

    def __init__(self, *, stemmer: bool) -> None:
        self._stems = PorterStems() if stemmer else None
        self.tokenize = lru_cache(maxsize=1 << 12)(self._tokenize)

    def _tokenize(self, text: str) -> list[str]:
        words = split_words(text.translate(APART))
        if self._stems is None:
            return words
        return [self._stems.stem(word) if len(word) > LONGEST_UNSTEMMED else word for word in words]


class Rouge(MeanOfWindows):
    """The mean over windows of each window's F1. The statistics (n, 3): F1 of ROUGE-L, ROUGE-1, ROUGE-2.

    A window whose prediction or reference is empty scores 0. Tokens are words in lower case, parted at apostrophes: of
    ASCII texts exactly rouge-score's, which are runs of a-z and 0-9. Stems are English, and change no other script.
    """

    scale = "0-1, higher is better"
    reads_images = False
    better: Literal["higher", "lower"] = "higher"
    perfect = 1.0

    def __init__(self, options: RougeOptions) -> None:
        from rouge_score.rouge_scorer import RougeScorer

        self._tokens = _Tokens(stemmer=options.stemmer)
        self._scorer = RougeScorer(["rouge1", "rouge2"], tokenizer=self._tokens)
        self._stemmer = "porter" if options.stemmer else "no"
        self._sign("rouge-score", self._stemmer)

    def read_references(self, references: Sequence[str]) -> None:
        """Sign with what their scripts make of tokens and stems. Raises VsrError if they hold no word."""
        require_words("rouge", references)
        stemmer = stemmer_of(references) if self._stemmer == "porter" else "no"
        self._sign("rouge-score" if all(map(str.isascii, references)) else "words", stemmer)

    def _sign(self, tokenizer: str, stemmer: str) -> None:
        self.signature = (
            f"nrefs:1|case:lc|tok:{tokenizer}|stemmer:{stemmer}|headline:L-f1|agg:mean"
            f"|version:rouge-score-{version('rouge-score')}"
        )

    def measure(self, samples: Sequence[Sample]) -> NDArray[np.float64]:
        """Return the three F1 of each window, (n, 3)."""
        rows = np.zeros((len(samples), len(NAMES)))
        for row, sample in zip(rows, samples, strict=True):
            scores = self._scorer.score(sample.reference_text, sample.predicted_text)
            predicted, reference = map(self._tokens.tokenize, (sample.predicted_text, sample.reference_text))
            # rouge-score's own table for L takes most of the time of an evaluation.
            longest = 2 * common_subsequence(predicted, reference) / max(1, len(predicted) + len(reference))
            row[:] = [longest, scores["rouge1"].fmeasure, scores["rouge2"].fmeasure]
        return rows

    def combine(self, statistics: NDArray[np.float64]) -> dict[str, float]:
        """Return the mean F1 of ROUGE-L, ROUGE-1 and ROUGE-2."""
        assert len(statistics), "no score without a window"
        return {name: float(mean) for name, mean in zip(NAMES, statistics.mean(axis=0), strict=True)}


def common_subsequence(one: Sequence[str], other: Sequence[str]) -> int:
    """Return the length of the longest common subsequence of two lists of tokens.

    A row of the usual table is the bits of one integer (Hyyrö, 2004, "Bit-parallel LCS-length computation revisited").
    """
    places: dict[str, int] = {}
    for place, token in enumerate(one):
        places[token] = places.get(token, 0) | 1 << place
    whole = row = (1 << len(one)) - 1
    for token in other:
        matches = row & places.get(token, 0)
        row = ((row + matches) | (row - matches)) & whole
    return len(one) - row.bit_count()


def build(options: RougeOptions) -> Metric:
    """Build the metric."""
    return Rouge(options)
