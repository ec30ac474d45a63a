"""Cosine to the target, rank of the target and nearness to the context, in the space of the run's encoders."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vsr_cli.api import Comparison, MeanOfWindows, Options, SpaceMetric

Space = Literal["visual", "text"]
Vectors = NDArray[np.float32]
LEAST = 1e-6
"""Keeps the ratio to targets without similarity to their context finite."""


class CosineSimilarity(MeanOfWindows):
    """The mean over windows of the cosine between prediction and target. The statistics are the cosines, (n, 1)."""

    scale = "-1 to 1, higher is better"
    better: Literal["higher", "lower"] = "higher"
    ranks = False

    def __init__(self, name: str, space: Space) -> None:
        self._name = name
        self.space: Space = space
        self.signature = f"space:{space}|cosine|agg:mean"

    def measure_in_space(self, comparison: Comparison) -> NDArray[np.float64]:
        """Return the cosine of each window, (n, 1)."""
        products = _unit(comparison.predicted) * _unit(comparison.reference)  # (n, d)
        cosines: NDArray[np.float64] = products.sum(axis=1, keepdims=True, dtype=np.float64)
        return cosines

    def combine(self, statistics: NDArray[np.float64]) -> dict[str, float]:
        """Return the mean cosine."""
        assert len(statistics), "no score without a window"
        return {self._name: float(statistics.mean())}


class ContextSimilarity:
    """How near predictions are to their contexts' images, compared with how near the targets are.

    The ratio of the mean cosines to the mean vector of the context's images, which share a style, and some of what they
    show: a copy of the context has a ratio above 1, an image that does not fit the story one below. How much of it is
    style depends on the space; that of an encoder with `style` has statistics of it. The statistics (n, 2): the cosines
    of prediction and target.
    """

    scale = "0 up, 1 is as near to the context as the targets"
    better: Literal["one"] = "one"
    space: Space = "visual"
    ranks = False
    signature = "space:visual|cosine:to-context-mean|agg:ratio-of-means"

    def measure_in_space(self, comparison: Comparison) -> NDArray[np.float64]:
        """Return the two cosines of each window, negative ones as 0: (n, 2)."""
        context = _unit(comparison.context.mean(axis=1))  # (n, d)
        cosines = [
            (_unit(each) * context).sum(axis=1, dtype=np.float64)
            for each in (comparison.predicted, comparison.reference)
        ]
        return np.stack(cosines, axis=1).clip(min=0)

    def combine(self, statistics: NDArray[np.float64]) -> dict[str, float]:
        """Return the ratio, and the two mean cosines."""
        assert len(statistics), "no score without a window"
        predicted, true = statistics.mean(axis=0).tolist()
        return {
            "context-similarity": predicted / max(true, LEAST),
            "context-similarity-predicted": predicted,
            "context-similarity-true": true,
        }

    def summands(self, statistics: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the two cosines, (n, 2)."""
        return statistics

    def score_totals(self, totals: NDArray[np.float64], windows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the ratio of some selections, (R,)."""
        predicted, true = (totals / windows[:, None]).T
        ratio: NDArray[np.float64] = predicted / np.maximum(true, LEAST)
        return ratio


SCORES = ("", "-r1", "-r5", "-chance", "-chance-r1", "-chance-r5", "-later", "-later-chance")


class ReciprocalRank(MeanOfWindows):
    """The mean reciprocal rank of the true target among candidates sorted by their cosine to the prediction.

    The statistics (n, 9): 1 / rank, whether the rank is 1, whether it is at most 5, and the expected value of each for
    a random rank; then 1 / rank among the later frames of the story only, its expected value, and 1 if there are any
    (otherwise all three are 0). Equal cosines get the mean of their ranks.
    """

    scale = "0-1, higher is better"
    better: Literal["higher", "lower"] = "higher"
    ranks = True

    def __init__(self, name: str, space: Space) -> None:
        self._name = name
        self.space: Space = space
        self.signature = f"space:{space}|cosine|headline:MRR|ties:mean|candidates:split-less-own-past"

    def measure_in_space(self, comparison: Comparison) -> NDArray[np.float64]:
        """Return the nine numbers of each window, (n, 9)."""
        cosines = _unit(comparison.predicted) @ _unit(comparison.candidates).T  # (n, C)
        rank, count = _ranks(cosines, comparison.answer, comparison.rivals)
        later, later_count = _ranks(cosines, comparison.answer, comparison.later)
        some = later_count > 1
        columns = [1 / rank, rank <= 1, rank <= 5, _mean_reciprocal(count), 1 / count, np.minimum(1, 5 / count)]
        columns += [some / later, some * _mean_reciprocal(later_count), some]
        return np.stack(columns, axis=1).astype(np.float64)

    def combine(self, statistics: NDArray[np.float64]) -> dict[str, float]:
        """Return MRR, R@1, R@5 and their chance levels, then MRR among later frames of the story and its chance level.

        The last two are NaN if no window has later frames in the split.
        """
        assert len(statistics), "no score without a window"
        *means, later, later_chance, some = statistics.mean(axis=0).tolist()
        last = [later / some, later_chance / some] if some else [float("nan")] * 2
        return {self._name + score: value for score, value in zip(SCORES, [*means, *last], strict=True)}


def _unit(vectors: Vectors) -> Vectors:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Vectors = vectors / np.maximum(length, np.finfo(np.float32).tiny)
    return scaled


def _ranks(
    cosines: Vectors, answer: NDArray[np.int64], among: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the rank of each answer among the candidates of its row, from 1, and the number of candidates."""
    own = np.take_along_axis(cosines, answer[:, None], axis=1)  # (n, 1)
    above = ((cosines > own) & among).sum(axis=1)
    equal = ((cosines == own) & among).sum(axis=1)  # the answer itself is one
    return 1 + above + (equal - 1) / 2, among.sum(axis=1)


def _mean_reciprocal(count: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean of 1/1 … 1/count."""
    harmonic = np.cumsum(1 / np.arange(1, int(count.max(initial=1)) + 1))
    mean: NDArray[np.float64] = harmonic[count - 1] / count
    return mean


def build_cosine_image(options: Options) -> SpaceMetric:
    """Build the cosine of images."""
    return CosineSimilarity("cosine-image", "visual")


def build_cosine_text(options: Options) -> SpaceMetric:
    """Build the cosine of texts."""
    return CosineSimilarity("cosine-text", "text")


def build_mrr_image(options: Options) -> SpaceMetric:
    """Build the MRR of images."""
    return ReciprocalRank("mrr-image", "visual")


def build_mrr_text(options: Options) -> SpaceMetric:
    """Build the MRR of texts."""
    return ReciprocalRank("mrr-text", "text")


def build_context_similarity(options: Options) -> SpaceMetric:
    """Build the similarity to the context."""
    return ContextSimilarity()
