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
from ..model.embedding_spaces import EmbeddingSpaces, Vectors
from ..model.story_model import StoryModel
from .predictions import Predictions

MOST_TRAINING_WINDOWS = 4000
"""Training windows that baselines come from, evenly chosen from all: their vectors take a few hundred megabytes."""

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
        return WindowVectors(self.visual[rows], self.text[rows])


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
    """The distinct targets of a split, and which of them the target of each scored window is ranked among."""

    rows: NDArray[np.int64]
    """(C,), of the frames' images or texts."""
    answer: NDArray[np.int64]
    """(W,)."""
    rivals: NDArray[np.bool_]
    """(W, C)."""
    later: NDArray[np.bool_]
    """(W, C)."""


def candidates(
    rows: NDArray[np.int64], starts: NDArray[np.int64], stories: Sequence[str], scored: NDArray[np.int64]
) -> Candidates:
    """Return what the target of each scored window is ranked among, from all windows of a split.

    `rows` are their frames' images or texts (W, K + 1). Excluded are the story's own frames in the
    context or before it, and whatever is the same image or text as one of these.
    """
    targets, target_of = np.unique(rows[:, -1], return_inverse=True)  # (C,), (W,)
    number = np.unique(np.asarray(stories, dtype=np.str_), return_inverse=True)[1]
    rivals = np.ones((len(scored), len(targets)), np.bool_)
    later = np.zeros_like(rivals)
    column = np.full(int(rows.max()) + 1, -1, np.int64)
    column[targets] = np.arange(len(targets))
    position = starts[:, None] + np.arange(rows.shape[1])  # (W, K + 1), of each frame in its story
    of_story = {story: np.flatnonzero(number == story) for story in np.unique(number[scored]).tolist()}
    for index, window in enumerate(scored.tolist()):
        own = of_story[int(number[window])]
        before = position[own] < position[window, -1]  # (own, K + 1)
        seen = column[rows[own][before]]
        ahead = target_of[own][~before[:, -1]]
        later[index, ahead] = True
        excluded = seen[seen >= 0]
        rivals[index, excluded] = later[index, excluded] = False
        # The target itself stays, though a frame before the context may be the same.
        rivals[index, target_of[window]] = later[index, target_of[window]] = True
    return Candidates(targets, target_of[scored], rivals, later)


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
        ranked = candidates(rows, windows.starts, windows.stories, scored)
        first = np.unique(rows[:, -1], return_index=True)[1]
        targets = frames[first, -1]  # (C, d)
        predicted = {each: found.visual if visual else found.text for each, found in series.items()}
        predicted["mean-context"] = frames[scored, :-1].mean(axis=1)  # (W, d)
        compared = {each: (vector, targets) for each, vector in predicted.items() if vector is not None}
        if metric.ranks and metric.space in means:
            mean = means[metric.space]
            for each in ("copy-last", "mean-context"):
                vector, _ = compared[each]
                compared[f"{each}-centred"] = vector - mean, targets - mean
        if metric.ranks:
            compared |= {each: _by_query(found, metric, targets) for each, found in series.items() if found.queries}
        statistics[name] = {
            each: np.concatenate(
                [
                    metric.measure_in_space(_comparison(part, vector, keys, ranked, context=frames[scored, :-1]))
                    for part in np.array_split(np.arange(len(scored)), max(1, len(scored) // 256))
                ]
            )
            for each, (vector, keys) in compared.items()
        }
    return statistics


def _by_query(predictions: Predictions, metric: SpaceMetric, targets: Vectors) -> tuple[Vectors, Vectors]:
    """Return a model's queries, and the keys of the targets."""
    queries = predictions.queries
    assert queries is not None
    if metric.space == "visual":
        return queries.visual, queries.image_keys(targets)
    return queries.text, queries.text_keys(targets)


def _comparison(
    part: NDArray[np.int64], predicted: Vectors, targets: Vectors, ranked: Candidates, *, context: Vectors
) -> Comparison:
    return Comparison(
        predicted=predicted[part],
        reference=targets[ranked.answer[part]],
        context=context[part],
        candidates=targets,
        answer=ranked.answer[part],
        rivals=ranked.rivals[part],
        later=ranked.later[part],
    )
