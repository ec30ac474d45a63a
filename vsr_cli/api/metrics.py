"""The contract of metrics: statistics per window, and a score from the statistics of any windows."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NUMBER = r"(-?\d+(?:\.\d+)?)"
SCALE = re.compile(rf"(?:[A-Za-z%]+, )?{NUMBER}(?: up\b| ?(?:-|–|to|\.\.) ?{NUMBER}\b)")
"""How a metric's scale begins: "0-100", "-1 to 1", "dB, 0-100", "0 up"."""
UNLIMITED = (-math.inf, math.inf)


def micro_f1(name: str, counts: NDArray[np.float64]) -> dict[str, float]:
    """Return F1, precision and recall over all windows, under the name of a metric; 1 where nothing is to be counted.

    `counts` are (n, 3): how many are right, were predicted and are true, in each window.
    """
    right, predicted, true = counts.sum(axis=0)
    shares = {"": (2 * right, predicted + true), "-precision": (right, predicted), "-recall": (right, true)}
    return {f"{name}{kind}": float(part / whole) if whole else 1.0 for kind, (part, whole) in shares.items()}


@dataclass(frozen=True, kw_only=True)
class Mention:
    """Words of a frame's text that its source links to an entity of the story."""

    kind: str
    ids: tuple[str, ...]
    text: str
    """Normalized."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The prediction and the reference of one window. Texts are normalized."""

    story: str
    context_texts: tuple[str, ...]
    predicted_text: str
    reference_text: str
    predicted_image: NDArray[np.uint8]
    """(H, W, 3)."""
    reference_image: NDArray[np.uint8]
    """(H, W, 3)."""
    context_mentions: tuple[tuple[Mention, ...], ...] = ()
    """Of each frame; empty unless a metric reads mentions."""
    reference_mentions: tuple[Mention, ...] = ()


class Metric(Protocol):
    """A score of predictions. Built by `build(options) -> Metric`.

    A metric first reduces each window to a few numbers, then combines those of any selection of windows. So the score,
    its baselines and a bootstrap over stories come from one pass over texts and images. Raise VsrError from `build`
    where the metric cannot run, with what is missing and how to get it: the table then shows it as unavailable.

    A score that would change if a window were counted twice (such as distinct words) has an attribute
    `resampled = False`: it has no interval. One that reads a sample's mentions has an attribute
    `reads_mentions = True`: it is unavailable where the source marks none. One that reads nothing of a sample but its
    texts has an attribute `reads_images = False`: several processes measure many windows, with images of no pixels.
    One that is defined for the stories of one dataset has an attribute `dataset` with its name: it is unavailable on
    other data. One whose highest score is that of the reference itself has an attribute `perfect` with that score: if
    the references score far below it against themselves, a warning says so. One that needs many windows has a method
    `caution(windows: int) -> str | None`.
    """

    scale: str
    """A text that begins with the lowest and the highest score: "0-100, higher is better", "-1 to 1, …", "0 up, …".
    Intervals are clipped to this range; without it a score is taken to have no limits."""
    signature: str
    """Everything that the score depends on, in sacreBLEU's format: "case:lc|tok:13a|...|version:2.6.0"."""

    @property
    def better(self) -> Literal["higher", "lower", "one"]:
        """Which scores are better; `one` is for a ratio: the nearer to 1, the better."""
        ...

    def measure(self, samples: Sequence[Sample]) -> NDArray[np.float64]:
        """Return the statistics (len(samples), S) of some windows, each computed from its own sample alone."""
        ...

    def combine(self, statistics: NDArray[np.float64]) -> dict[str, float]:
        """Return the scores of windows from their statistics (n, S), the headline score first.

        The headline has the metric's name; names of further scores start with it ("rouge", "rouge-1").
        """
        ...


@runtime_checkable
class ReadsReferences(Protocol):
    """A metric that reads all references before it measures a window, such as for document frequencies."""

    def read_references(self, references: Sequence[str]) -> None:
        """Read the references of all windows that will be measured.

        What it chooses by them (a tokenizer) belongs in the signature. Raises VsrError if it cannot read them: the
        metric is then unavailable.
        """
        ...


@runtime_checkable
class ScoresTotals(Protocol):
    """A metric whose score depends on sums over its windows alone, so that a bootstrap adds up each story only once.

    Without it, a bootstrap calls `combine` on the statistics of every resample.
    """

    def summands(self, statistics: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what is summed, (n, M), from the statistics (n, S) of some windows, each row for itself."""
        ...

    def score_totals(self, totals: NDArray[np.float64], windows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the headline score of R selections (R,) from the sums (R, M) and numbers (R,) of their windows."""
        ...


class MeanOfWindows:
    """The part `ScoresTotals` of a metric whose headline score is the mean of its first statistic."""

    def summands(self, statistics: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the first statistic, (n, 1)."""
        return statistics[:, :1]

    def score_totals(self, totals: NDArray[np.float64], windows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the means, (R,)."""
        return totals[:, 0] / windows


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Predictions of n windows and what they are compared with, as vectors (d,) in one embedding space of the run.

    It is the space of the visual or text encoder's frozen features. Vectors are not normalized.
    """

    predicted: NDArray[np.float32]
    """(n, d)."""
    reference: NDArray[np.float32]
    """(n, d)."""
    context: NDArray[np.float32]
    """The frames of the windows' contexts, (n, K, d)."""
    candidates: NDArray[np.float32]
    """The distinct targets of the whole split, (C, d)."""
    answer: NDArray[np.int64]
    """(n,): which candidate is each window's own target."""
    rivals: NDArray[np.bool_]
    """(n, C): the candidates that a window's target is ranked among, including itself, but without frames in or
    before the window's own context: copies would rank first."""
    later: NDArray[np.bool_]
    """(n, C): of these, the frames of the window's own story, which differ by order and not by style."""


@runtime_checkable
class SpaceMetric(Protocol):
    """A metric that compares vectors in an embedding space of the run. Built like a `Metric`."""

    space: Literal["visual", "text"]
    ranks: bool
    """Whether it only orders candidates. Then a model that has learned to choose among them (objective `next_frame`)
    answers with its own query and keys, and baselines are also measured with the training mean subtracted."""
    scale: str
    signature: str

    @property
    def better(self) -> Literal["higher", "lower", "one"]:
        """As for a `Metric`."""
        ...

    def measure_in_space(self, comparison: Comparison) -> NDArray[np.float64]:
        """Return the statistics (n, S) of some windows."""
        ...

    def combine(self, statistics: NDArray[np.float64]) -> dict[str, float]:
        """Return the scores, the headline first, as a `Metric` does."""
        ...


def score_range(metric: Metric | SpaceMetric) -> tuple[float, float]:
    """Return the lowest and the highest possible score, with which `scale` begins."""
    found = SCALE.match(metric.scale)
    if found is None:
        return UNLIMITED
    low, high = found.groups()
    return float(low), math.inf if high is None else float(high)
