"""CIDEr-D with one reference per window."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vsr_cli.api import MeanOfWindows, Metric, Options, Sample, ngrams, split_words

from .tokens import require_words

ORDER = 4
SIGMA = 6.0
"""Words: how fast a prediction of another length loses (Vedantam et al., 2015, section 8)."""


class Cider(MeanOfWindows):
    """The mean over windows of CIDEr-D (Vedantam et al., 2015, "CIDEr", equations 1 to 4 and section 8).

    N-grams weigh the more the fewer references of the split hold them. Unlike the authors' program, which takes
    stems made beforehand, it compares words. The statistics are each window's score, (n, 1).
    """

    scale = "0-10, higher is better"
    reads_images = False
    better: Literal["higher", "lower"] = "higher"
    perfect = 10.0
    signature = f"variant:D|n:1-{ORDER}|sigma:{SIGMA}|nrefs:1|case:lc|tok:words|stemmer:no|df:references|agg:mean"

    def __init__(self) -> None:
        self._frequency: Counter[tuple[str, ...]] = Counter()
        self._documents = 0

    def read_references(self, references: Iterable[str]) -> None:
        """Count in how many references each n-gram stands. Raises VsrError if they hold no word."""
        texts = list(references)
        require_words("cider", texts)
        self._documents = len(texts)
        self._frequency = Counter(run for text in texts for order in _counts(text) for run in order)

    def measure(self, samples: Sequence[Sample]) -> NDArray[np.float64]:
        """Return the CIDEr-D of each window, (n, 1); 0 where nothing matches."""
        assert self._documents, "references are read first"
        rows = [self._window(sample.predicted_text, sample.reference_text) for sample in samples]
        return np.array(rows, dtype=np.float64).reshape(-1, 1)

    def combine(self, statistics: NDArray[np.float64]) -> dict[str, float]:
        """Return the mean CIDEr-D."""
        assert len(statistics), "no score without a window"
        return {"cider": float(statistics.mean())}

    def _window(self, prediction: str, reference: str) -> float:
        shorter = len(split_words(prediction)) - len(split_words(reference))
        penalty = math.exp(-(shorter**2) / (2 * SIGMA**2))
        orders = zip(map(self._weigh, _counts(prediction)), map(self._weigh, _counts(reference)), strict=True)
        return 10 * penalty * sum(_similarity(ours, theirs) for ours, theirs in orders) / ORDER

    def _weigh(self, counts: Mapping[tuple[str, ...], int]) -> dict[tuple[str, ...], float]:
        everything = math.log(self._documents)
        return {run: count * (everything - math.log(max(1, self._frequency[run]))) for run, count in counts.items()}


def _counts(text: str) -> list[Counter[tuple[str, ...]]]:
    tokens = split_words(text)
    return [Counter(ngrams(tokens, n)) for n in range(1, ORDER + 1)]


def _similarity(ours: Mapping[tuple[str, ...], float], theirs: Mapping[tuple[str, ...], float]) -> float:
    # A prediction gains nothing by saying an n-gram more often than the reference does.
    common = sum(min(weight, theirs[run]) * theirs[run] for run, weight in ours.items() if run in theirs)
    lengths = math.hypot(*ours.values()) * math.hypot(*theirs.values())
    return common / lengths if lengths else 0.0


def build(options: Options) -> Metric:
    """Build the metric."""
    return Cider()
