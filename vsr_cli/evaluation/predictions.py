"""What models and their baselines answer to windows: all of a score that needs a model, whose turn comes once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..api import Decoding, SpaceMetric
from ..config.schema import FeatureOptions
from ..data.batches import Contexts
from ..data.prepared import Prepared
from ..data.shards import JoinedRows
from ..model.losses.held_out import held_out_losses
from ..model.losses.means import LossMeans, open_split
from ..model.spaces import Spaces, Vectors
from ..model.story_model import StoryModel
from .baselines import Unavailable, ceiling, copy_last, shuffled
from .embeddings import place
from .leakage import Audit
from .predicting import predict_all
from .scoring import Statistics, measure_in_spaces
from .series import Series, read_truth
from .training_neighbors import Training


@dataclass(frozen=True)
class Part:
    """The windows that one model answers: a whole split, or one of the folds that together are all stories."""

    prepared: Prepared
    training: Prepared
    """The data that the model was trained on, where baselines and leaks are looked for."""
    load: Callable[[], StoryModel]


@dataclass(frozen=True)
class Answers:
    """What a model and its baselines answer to W windows, and what the model says of them besides."""

    series: Mapping[str, Series | Unavailable]
    in_spaces: Statistics
    """What was measured in the model's own spaces, where other models' answers have no place."""
    truncated: float
    """The share of the references that are longer than the decoder can write."""
    losses: LossMeans
    """Teacher-forced, over all windows of the part, also those that are left out of the scores."""
    weights: Mapping[str, float]
    """Of the losses in their sum."""
    facts: Mapping[str, object]
    """What a signature says of the model."""


def answer(
    part: Part,
    split: str,
    found: Audit,
    metrics: Mapping[str, SpaceMetric],
    *,
    decoding: Decoding,
    device: torch.device,
    options: FeatureOptions,
) -> Answers:
    """Predict the windows of a part that are scored, free-running, and answer them as the baselines do.

    `metrics` are those that compare in the model's own spaces.
    """
    model, prepared = part.load().to(device).eval(), part.prepared
    everything = prepared.windows(split)
    windows = everything.take(found.kept)
    truth = read_truth(prepared.frames, windows)
    placed = place(model, prepared, split, training=part.training, device=device, options=options)
    encoded: dict[str, Any] = {"visual": model.visual, "text": model.text, "features": placed.features}
    contexts = Contexts(prepared.frames, windows, **encoded, device=device)
    answers = predict_all(model, contexts, decoding, what=f"predicting the {split} split")
    spaces, learned = placed.spaces, placed.learned
    if metrics:
        answers = _in_spaces(answers, spaces)
    scored = placed.vectors.take(found.kept)
    series: dict[str, Series | Unavailable] = {"model": answers}
    series["copy-last"] = copy_last(prepared.frames, windows, truth, scored)
    series |= placed.baselines(found.kept)
    series["shuffled-context"] = shuffled(answers, windows.stories)
    top = ceiling(
        model.text_decoder, prepared.frames, windows, truth, vectors=scored, spaces=spaces if metrics else None
    )
    series["upper_bound"] = top.series
    means: dict[str, Vectors] = {}
    if isinstance(learned, Training):
        means = {"visual": learned.visual_mean, "text": learned.text_mean}
    there = {name: each for name, each in series.items() if isinstance(each, Series)}
    return Answers(
        series,
        measure_in_spaces(metrics, there, everything, found.kept, vectors=placed.vectors, means=means),
        top.truncated,
        held_out_losses(model, open_split(model, prepared, split, placed.features, device=device)),
        model.objective.weights,
        {
            "maxlength": model.text_decoder.tokenize([""]).ids.shape[1],
            **{f"space.{name}": value for name, value in spaces.signature.items()},
            "ranking": "written" if model.next_frame is None else "query",
        },
    )


def joined(parts: Sequence[Answers], counts: Sequence[int], order: NDArray[np.int64]) -> Answers:
    """Put the answers of several parts together, `counts` windows each, and take them in another order (W,).

    A baseline that one part does not have is one that all together do not have.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    losses = LossMeans()
    for part in parts:
        for name, total in part.losses.sums.items():
            losses.sums[name] = losses.sums.get(name, 0.0) + total
            losses.counts[name] = losses.counts.get(name, 0.0) + part.losses.counts[name]
    return Answers(
        {name: _joined_series([part.series[name] for part in parts], order) for name in first.series},
        {
            metric: {
                each: np.concatenate([part.in_spaces[metric][each] for part in parts])[order]
                for each in measured
                if all(each in part.in_spaces[metric] for part in parts)
            }
            for metric, measured in first.in_spaces.items()
        },
        float(np.average([part.truncated for part in parts], weights=counts)),
        losses,
        first.weights,
        first.facts,
    )


def _joined_series(parts: Sequence[Series | Unavailable], order: NDArray[np.int64]) -> Series | Unavailable:
    there = [part for part in parts if isinstance(part, Series)]
    if len(there) < len(parts):
        return next(part for part in parts if isinstance(part, Unavailable))
    texts = [text for part in there for text in part.texts]
    # In spaces of their own, answers of several models have no common place: they have been measured by now.
    return Series(texts, JoinedRows([part.images for part in there])).take(order)


def _in_spaces(answers: Series, spaces: Spaces) -> Series:
    """Place the model's answers in its own spaces."""
    visual = spaces.images(answers.images, np.arange(len(answers.texts)))
    return replace(answers, visual=visual, text=spaces.written(answers.texts))
