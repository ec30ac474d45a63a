"""Windows in a run's embedding spaces: the scored ones, those of the training data, and metrics that compare there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..api import Comparison, SpaceMetric
from ..config.schema import FeatureOptions
from ..data.cache.extraction import Features, frozen_features
from ..data.prepared import Prepared
from ..data.prepared_types import Windows
from ..data.scratch import roomy_array, taken
from ..model.embedding_spaces import EmbeddingSpaces, Vectors
from ..model.story_model import StoryModel
from .predictions import Predictions

MOST_TRAINING_WINDOWS = 4000
"""Training windows that baselines come from, evenly chosen from all: their vectors take a few hundred megabytes."""

COMPARED = 256
"""Windows compared at a time."""
CELLS = 2**22
"""The most pairs of a window and a target that are compared at a time."""

Statistics = dict[str, dict[str, NDArray[np.float64]]]
"""By metric, then by series (the model, a baseline or the upper bound): (W, S)."""


@dataclass(frozen=True)
class Unavailable:
    """The reason why a baseline is not available, with a remedy."""

    reason: str


@dataclass(frozen=True)
class WindowVectors:
    """The frames of W windows in the run's spaces, (W, K + 1, d) each."""

    visual: Vectors
    text: Vectors

    def take(self, rows: NDArray[np.int64]) -> WindowVectors:
        """Return those of some windows."""
        if np.array_equal(rows, np.arange(len(self.visual))):
            return self
        return WindowVectors(taken(self.visual, rows), taken(self.text, rows))

    def contexts(self, rows: NDArray[np.int64]) -> tuple[Vectors, Vectors]:
        """Return the mean of the context frames of some windows (n,), of images and of texts: (n, d) each."""
        return _mean_context(self.visual, rows), _mean_context(self.text, rows)


@dataclass(frozen=True)
class TrainingWindows:
    """T training windows, from which baselines are computed."""

    prepared: Prepared
    windows: Windows
    vectors: WindowVectors

    @property
    def means(self) -> dict[str, Vectors]:
        """The mean vector of all frames, (d,), by space."""
        return {
            space: each.reshape(-1, each.shape[-1]).mean(axis=0)
            for space, each in (("visual", self.vectors.visual), ("text", self.vectors.text))
        }


@dataclass(frozen=True)
class EmbeddedSplit:
    """All windows of a split, and those of the training data, in a run's spaces."""

    spaces: EmbeddingSpaces
    features: Features
    """Of the split."""
    vectors: WindowVectors
    """Of all windows of the split, including those that are not scored."""
    training: Prepared
    training_windows: TrainingWindows | Unavailable


def embed_split(
    model: StoryModel,
    prepared: Prepared,
    split: str,
    *,
    training: Prepared,
    device: torch.device,
    options: FeatureOptions,
) -> EmbeddedSplit:
    """Embed the windows of a split, and of the train split of `training`, by a model that is on `device`.

    Frozen features that are not cached yet are computed and cached.
    """
    encoders: dict[str, Any] = {"visual": model.visual, "text": model.text, "device": device, "options": options}
    splits = list(dict.fromkeys([split, "train"])) if training is prepared else [split]
    features = frozen_features(prepared, **encoders, splits=splits)
    spaces = EmbeddingSpaces(model, device)

    def embed(data: Prepared, windows: Windows, frozen: Features) -> WindowVectors:
        return WindowVectors(
            spaces.images(data.frames.images, windows.image_rows, features=frozen.visual),
            spaces.texts(frozen.tokens, windows.text_rows, features=frozen.text),
        )

    vectors = embed(prepared, prepared.windows(split), features)
    windows = training.windows("train")
    found: TrainingWindows | Unavailable
    if len(windows):
        frozen = features if training is prepared else frozen_features(training, **encoders, splits=["train"])
        if len(windows) > MOST_TRAINING_WINDOWS:
            chosen = np.linspace(0, len(windows) - 1, MOST_TRAINING_WINDOWS)
            windows = windows.take(chosen.round().astype(np.int64))
        found = TrainingWindows(training, windows, embed(training, windows, frozen))
    else:
        found = Unavailable(f"{training.folder} has no training windows; name the training data with --data")
    return EmbeddedSplit(spaces, features, vectors, training, found)


def unit(vectors: Vectors) -> Vectors:
    """Scale vectors (..., d) to length 1; a zero stays one."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: Vectors = vectors / np.maximum(length, np.finfo(np.float32).tiny)
    return scaled


@dataclass(frozen=True)
class Candidates:
    """The distinct targets of a split, and which of them the target of each of W windows is ranked among."""

    rows: NDArray[np.int64]
    """(C,), of the frames' images or texts."""
    answer: NDArray[np.int64]
    """(W,)."""
    rivals: NDArray[np.bool_]
    """(W, C)."""
    later: NDArray[np.bool_]
    """(W, C)."""


class Ranking:
    """What targets are ranked among: `rows` are the images or texts (W, K + 1) of the frames of all windows of a split.

    Excluded are the story's own frames in the context or before it, and whatever is the same image or text as one of
    these.
    """

    def __init__(self, rows: NDArray[np.int64], starts: NDArray[np.int64], stories: Sequence[str]) -> None:
        self._rows = rows
        self.targets, self._target_of = np.unique(rows[:, -1], return_inverse=True)  # (C,), (W,)
        numbers = {story: number for number, story in enumerate(dict.fromkeys(stories))}
        self._number = np.array([numbers[story] for story in stories], np.int64)  # (W,)
        self._order = np.argsort(self._number, kind="stable")
        self._ends = np.cumsum(np.bincount(self._number, minlength=len(numbers)))
        self._column = np.full(int(rows.max()) + 1, -1, np.int64)
        self._column[self.targets] = np.arange(len(self.targets))
        self._position = starts[:, None] + np.arange(rows.shape[1])  # (W, K + 1), of each frame in its story

    def candidates(self, scored: NDArray[np.int64]) -> Candidates:
        """Return what the targets of some windows (n,) are ranked among."""
        rows, position, target_of = self._rows, self._position, self._target_of
        rivals = np.ones((len(scored), len(self.targets)), np.bool_)
        later = np.zeros_like(rivals)
        for index, window in enumerate(scored.tolist()):
            own = self._of_story(int(self._number[window]))
            before = position[own] < position[window, -1]  # (own, K + 1)
            seen = self._column[rows[own][before]]
            ahead = target_of[own][~before[:, -1]]
            later[index, ahead] = True
            excluded = seen[seen >= 0]
            rivals[index, excluded] = later[index, excluded] = False
            # The target itself stays, though a frame before the context may be the same.
            rivals[index, target_of[window]] = later[index, target_of[window]] = True
        return Candidates(self.targets, target_of[scored], rivals, later)

    def _of_story(self, number: int) -> NDArray[np.int64]:
        return self._order[self._ends[number - 1] if number else 0 : self._ends[number]]


def _mean_context(frames: Vectors, rows: NDArray[np.int64]) -> Vectors:
    """Return the mean of the context of some windows (n,) of `frames` (W, K + 1, d): (n, d)."""
    found = roomy_array((len(rows), frames.shape[-1]), np.float32)
    for part in in_blocks(len(rows), COMPARED):
        found[part] = frames[rows[part], :-1].mean(axis=1)
    return found


def in_blocks(count: int, size: int) -> list[slice]:
    """Divide `count` rows into blocks of about `size`."""
    bounds = np.linspace(0, count, max(1, count // size) + 1).astype(int).tolist()
    return [slice(*bounds[at : at + 2]) for at in range(len(bounds) - 1)]


def measure_in_spaces(
    metrics: Mapping[str, SpaceMetric],
    series: Mapping[str, Predictions],
    windows: Windows,
    scored: NDArray[np.int64],
    *,
    vectors: WindowVectors,
    means: Mapping[str, Vectors],
) -> Statistics:
    """Measure every series by each metric that compares in the run's spaces; a model with queries ranks by these.

    Two more baselines are measured: the mean of the context's frames and, for ranks, both it and the last frame with
    the training mean subtracted. `windows` and `vectors` are of all windows of the split, `scored` the rows of those
    that are scored; `means` are the training means by space, empty without training data.
    """
    statistics: Statistics = {}
    for name, metric in metrics.items():
        visual = metric.space == "visual"
        rows, frames = (windows.image_rows, vectors.visual) if visual else (windows.text_rows, vectors.text)
        ranking = Ranking(rows, windows.starts, windows.stories)
        first = np.unique(rows[:, -1], return_index=True)[1]
        targets = frames[first, -1]  # (C, d)
        predicted = {each: found.visual if visual else found.text for each, found in series.items()}
        predicted["mean-context"] = _mean_context(frames, scored)  # (W, d)
        compared = {each: (vector, targets) for each, vector in predicted.items() if vector is not None}
        if metric.ranks and metric.space in means:
            mean = means[metric.space]
            for each in ("copy-last", "mean-context"):
                vector, _ = compared[each]
                compared[f"{each}-centred"] = vector - mean, targets - mean
        if metric.ranks:
            compared |= {each: _by_query(found, metric, targets) for each, found in series.items() if found.queries}
        measured: dict[str, list[NDArray[np.float64]]] = {each: [] for each in compared}
        # Each block is compared with all targets, so that blocks are smaller where there are many.
        for part in in_blocks(len(scored), min(COMPARED, max(16, CELLS // len(targets)))):
            ranked, context = ranking.candidates(scored[part]), frames[scored[part], :-1]
            for each, (vector, keys) in compared.items():
                measured[each].append(metric.measure_in_space(_comparison(vector[part], keys, ranked, context=context)))
        statistics[name] = {each: np.concatenate(found) for each, found in measured.items()}
    return statistics


def _by_query(predictions: Predictions, metric: SpaceMetric, targets: Vectors) -> tuple[Vectors, Vectors]:
    """Return a model's queries, and the keys of the targets."""
    queries = predictions.queries
    assert queries is not None
    if metric.space == "visual":
        return queries.visual, queries.image_keys(targets)
    return queries.text, queries.text_keys(targets)


def _comparison(predicted: Vectors, targets: Vectors, ranked: Candidates, *, context: Vectors) -> Comparison:
    return Comparison(
        predicted=predicted,
        reference=targets[ranked.answer],
        context=context,
        candidates=targets,
        answer=ranked.answer,
        rivals=ranked.rivals,
        later=ranked.later,
    )
