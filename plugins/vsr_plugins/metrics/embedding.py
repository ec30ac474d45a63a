"""Cosine to the target and rank of the target, in the space of the run's encoders."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vsr_cli.api import Comparison, Options, SpaceMetric

Space = Literal["visual", "text"]
Vectors = NDArray[np.float32]


class Similarity:
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


SCORES = ("", "-r1", "-r5", "-chance", "-chance-r1", "-chance-r5", "-later", "-later-chance")


class Rank:
    """The place of the true target among candidates in the order of their cosine to the prediction.

    The statistics (n, 9): 1 / place, whether the place is 1, whether it is at most 5, what each of these is for a place
    drawn at random; then 1 / place among the later frames of the story alone, that of chance, and 1 if there are any
    (else all three are 0). Of equal cosines, each takes the mean of their places.
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
        place, count = _places(cosines, comparison.answer, comparison.rivals)
        later, later_count = _places(cosines, comparison.answer, comparison.later)
        some = later_count > 1
        columns = [1 / place, place <= 1, place <= 5, _mean_reciprocal(count), 1 / count, np.minimum(1, 5 / count)]
        columns += [some / later, some * _mean_reciprocal(later_count), some]
        return np.stack(columns, axis=1).astype(np.float64)

    def combine(self, statistics: NDArray[np.float64]) -> dict[str, float]:
        """Return MRR, R@1 and R@5, each one's chance, and MRR among the story's later frames beside its chance.

        The last two are nan where no window has later frames in the split.
        """
        assert len(statistics), "no score without a window"
        *means, later, later_chance, some = statistics.mean(axis=0).tolist()
        last = [later / some, later_chance / some] if some else [float("nan")] * 2
        return {self._name + score: value for score, value in zip(SCORES, [*means, *last], strict=True)}


def _unit(vectors: Vectors) -> Vectors:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Vectors = vectors / np.maximum(length, np.finfo(np.float32).tiny)
    return scaled


def _places(
    cosines: Vectors, answer: NDArray[np.int64], among: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the place of each answer among the candidates of its row, from 1, and how many these are."""
    own = np.take_along_axis(cosines, answer[:, None], axis=1)  # (n, 1)
    above = ((cosines > own) & among).sum(axis=1)
    equal = ((cosines == own) & among).sum(axis=1)  # the answer itself is one
    return 1 + above + (equal - 1) / 2, among.sum(axis=1)


def _mean_reciprocal(count: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean of 1/1 … 1/count."""
    harmonic = np.cumsum(1 / np.arange(1, int(count.max(initial=1)) + 1))
    mean: NDArray[np.float64] = harmonic[count - 1] / count
    return mean


def build_similarity(options: Options) -> SpaceMetric:
    """Build the similarity of images."""
    return Similarity("cosine-image", "visual")


def build_text_similarity(options: Options) -> SpaceMetric:
    """Build the similarity of texts."""
    return Similarity("cosine-text", "text")


def build_rank(options: Options) -> SpaceMetric:
    """Build the rank of the true image."""
    return Rank("mrr-image", "visual")


def build_text_rank(options: Options) -> SpaceMetric:
    """Build the rank of the true text."""
    return Rank("mrr-text", "text")
