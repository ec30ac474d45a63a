"""What a metric promises: statistics a window, and a score from any set of windows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

NUMBER = r"(-?\d+(?:\.\d+)?)"
SCALE = re.compile(rf"(?:[A-Za-z%]+, )?{NUMBER}(?: up\b| ?(?:-|–|to|\.\.) ?{NUMBER}\b)")
"""How a metric's scale begins: "0-100", "-1 to 1", "dB, 0-100", "0 up"."""
UNLIMITED = (-np.inf, np.inf)


@dataclass(frozen=True, kw_only=True)
class Mention:
    """Words of a frame's text that its source ties to something in the story: an `Entity`, with its words."""

    kind: str
    ids: tuple[str, ...]
    text: str
    """In the protocol's one form."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One window's prediction beside its reference. Texts are in the protocol's one form (see `clean_text`)."""

    story: str
    context_texts: tuple[str, ...]
    predicted_text: str
    reference_text: str
    predicted_image: NDArray[np.uint8]
    """(H, W, 3)."""
    reference_image: NDArray[np.uint8]
    """(H, W, 3)."""
    context_mentions: tuple[tuple[Mention, ...], ...] = ()
    """Of each frame. Looked up only if a metric reads mentions."""
    reference_mentions: tuple[Mention, ...] = ()


class Metric(Protocol):
    """A score of predictions. Built by `build(options) -> Metric`.

    A metric first reduces each window to a few numbers and then combines any selection of windows, so that a
    corpus score, a baseline and a bootstrap over stories all come from one pass with memory that does not grow
    with the images. Raise VsrError from `build` where the metric cannot run here, saying what it lacks and
    how to get it: the table then shows it as unavailable.

    A score that would change if a window were counted twice (how many words are distinct) has an attribute
    `resampled = False`: it is given without an interval. One that reads a sample's mentions has an attribute
    `reads_mentions = True`: it is unavailable where the source marks none. One that gives a prediction which is the
    reference its highest score has an attribute `perfect` with that score: where references score far from it
    against themselves, a warning says so.
    """

    scale: str
    """In words that begin with the lowest and the highest score: "0-100, higher is better", "-1 to 1, …", "0 up, …".
    No interval is shown that leaves them; without them a score is taken to have no limits."""
    signature: str
    """Everything that the score depends on, as sacreBLEU writes it: "case:lc|tok:13a|...|version:2.6.0"."""

    @property
    def better(self) -> Literal["higher", "lower", "one"]:
        """Which scores are good; `one` is for a ratio: the nearer to 1, the better."""
        ...

    def measure(self, samples: Sequence[Sample]) -> NDArray[np.float64]:
        """Return the statistics (len(samples), S) of some windows, each from its own sample alone."""
        ...

    def combine(self, statistics: NDArray[np.float64]) -> dict[str, float]:
        """Return the scores of the windows whose statistics (n, S) these are, the headline first.

        The headline has the metric's own name; further ones add to it ("rouge", "rouge-1").
        """
        ...


@runtime_checkable
class ReadsReferences(Protocol):
    """A metric that wants to know all references before it measures a window, e.g. to count how rare words are."""

    def read_references(self, references: Sequence[str]) -> None:
        """Read the references of all windows that will be measured, before any is.

        What it chooses by them (a tokenizer) belongs into the signature. Raises VsrError if it can make nothing of
        them: the metric is then unavailable.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Predictions of n windows beside what they are compared with, in one space of the run: d numbers each.

    The space is what the run's visual or text encoder gives before anything in it trains. Vectors are as it gives
    them, of any length.
    """

    predicted: NDArray[np.float32]
    """(n, d)."""
    reference: NDArray[np.float32]
    """(n, d)."""
    candidates: NDArray[np.float32]
    """The distinct targets of the whole split, (C, d)."""
    answer: NDArray[np.int64]
    """(n,): which candidate is each window's own target."""
    rivals: NDArray[np.bool_]
    """(n, C): the candidates that a window's target is ranked among, itself too. Not those that stand in or
    before the window's own context: they would win by being copies."""
    later: NDArray[np.bool_]
    """(n, C): of these, the frames of the window's own story; they tell of order, not of style."""


@runtime_checkable
class SpaceMetric(Protocol):
    """A metric that compares in a space of the run's own, in place of words or pixels. Built like a `Metric`."""

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
    """Return the lowest and the highest score that there can be, which `scale` begins with."""
    found = SCALE.match(metric.scale)
    if found is None:
        return UNLIMITED
    low, high = found.groups()
    return float(low), np.inf if high is None else float(high)
