"""Predictions of a split by its models, the baselines and the upper bound, for one model or several folds as one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..api import Decoding, SpaceMetric, TextDecoder, split_words
from ..config.schema import FeatureOptions
from ..data.batches import Contexts
from ..data.prepared import Prepared
from ..data.prepared_types import Frames, Windows
from ..data.shards import JoinedRows
from ..model.held_out_losses import held_out_losses
from ..model.loss_means import LossMeans, open_split
from ..model.mbr import SELECTION
from ..model.story_model import StoryModel
from .baselines import best_context, copy_last, shuffled_context, training_baselines, upper_bound
from .embeddings import Statistics, TrainingWindows, Unavailable, embed_split, measure_in_spaces
from .normalize import clean_text
from .predictions import Predictions, load_references, predict_all


@dataclass(frozen=True)
class Part:
    """The windows that one model predicts: a whole split, or one of the folds that together are all stories."""

    prepared: Prepared
    training: Prepared
    """The data that the model was trained on, from which baselines come and to which targets may leak."""
    load: Callable[[], StoryModel]


@dataclass(frozen=True)
class Predicted:
    """What the model, the baselines and the upper bound predict, and facts about the model."""

    series: Mapping[str, Predictions | Unavailable]
    """By name: "model", the baselines, and "upper_bound"."""
    in_spaces: Statistics = field(default_factory=dict)
    """What was measured in the model's own spaces, which other models do not share."""
    truncated: float = 0.0
    """The share of the references that are longer than the decoder can write."""
    losses: LossMeans | None = None
    """Teacher-forced, over all windows of the part, including those that are not scored."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Of the losses in their sum."""
    facts: Mapping[str, object] = field(default_factory=dict)
    """Of the model, for the signature."""
    cautions: Sequence[str] = ()
    """Of the text decoder."""
    models_text: bool = True
    """Whether the text decoder gives tokens probabilities, so that there is a perplexity."""
    with_images: bool = True
    """Whether images are predicted, and not placeholders."""
    words: int = 0
    """Of all targets of the part, as far as the text decoder can write them."""


def predict_part(
    part: Part,
    split: str,
    scored: NDArray[np.int64],
    metrics: Mapping[str, SpaceMetric],
    *,
    decoding: Decoding,
    device: torch.device,
    options: FeatureOptions,
) -> Predicted:
    """Predict the scored windows of a part: free-running by its model, and by the baselines.

    `metrics` are those that compare in the model's own spaces.
    """
    model, prepared = part.load().to(device).eval(), part.prepared
    everything = prepared.windows(split)
    windows = everything.take(scored)
    references = load_references(prepared.frames, windows)
    embedded = embed_split(model, prepared, split, training=part.training, device=device, options=options)
    spaces, vectors = embedded.spaces, embedded.vectors.take(scored)
    encoders: dict[str, Any] = {"visual": model.visual, "text": model.text, "features": embedded.features}
    contexts = Contexts(prepared.frames, windows, **encoders, device=device)
    predictions = predict_all(model, contexts, decoding, description=f"predicting the {split} split")
    bound, truncated = upper_bound(model.text_decoder, prepared.frames, windows, references)
    if metrics:
        visual = spaces.images(predictions.images, np.arange(len(windows)))
        predictions = replace(predictions, visual=visual, text=spaces.written(predictions.texts))
        bound = replace(bound, visual=vectors.visual[:, -1], text=spaces.written(bound.texts))
    series: dict[str, Predictions | Unavailable] = {
        "model": predictions,
        "copy-last": copy_last(references, prepared.frames, windows, vectors),
        "best-context": best_context(references, prepared.frames, windows, vectors),
        **training_baselines(embedded, scored, in_spaces=bool(metrics)),
        "shuffled-context": shuffled_context(predictions, windows.stories),
        "upper_bound": bound,
    }
    training = embedded.training_windows
    return Predicted(
        series,
        measure_in_spaces(
            metrics,
            {name: each for name, each in series.items() if isinstance(each, Predictions)},
            everything,
            scored,
            vectors=embedded.vectors,
            means=training.means if isinstance(training, TrainingWindows) else {},
        ),
        truncated,
        held_out_losses(model, open_split(model, prepared, split, embedded.features, device=device)),
        model.objective.weights,
        {
            "maxlength": model.text_decoder.tokenize([""]).ids.shape[1],
            **{f"space.{name}": value for name, value in spaces.signature.items()},
            "ranking": "written" if model.next_frame is None else "query",
            **({"selection": SELECTION} if decoding.method == "mbr" else {}),
        },
        words=_count_words(model.text_decoder, prepared.frames, everything),
        cautions=model.cautions,
        models_text=model.models_text,
    )


def join_parts(parts: Sequence[Predicted], order: NDArray[np.int64]) -> Predicted:
    """Concatenate the predictions of several parts, reordered by `order` (W,).

    A baseline that one part lacks is unavailable for all.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    losses = LossMeans()
    for part in parts:
        assert part.losses is not None
        for name, total in part.losses.sums.items():
            losses.sums[name] = losses.sums.get(name, 0.0) + total
            losses.counts[name] = losses.counts.get(name, 0.0) + part.losses.counts[name]
    models = [part.series["model"] for part in parts]
    return replace(
        first,
        series={name: _joined_series([part.series[name] for part in parts], order) for name in first.series},
        in_spaces={
            metric: {
                each: np.concatenate([part.in_spaces[metric][each] for part in parts])[order]
                for each in measured
                if all(each in part.in_spaces[metric] for part in parts)
            }
            for metric, measured in first.in_spaces.items()
        },
        truncated=float(
            np.average(
                [part.truncated for part in parts],
                weights=[len(each.texts) for each in models if isinstance(each, Predictions)],
            )
        ),
        losses=losses,
        words=sum(part.words for part in parts),
    )


def _count_words(decoder: TextDecoder, frames: Frames, windows: Windows) -> int:
    """Return the number of words of all targets: of what their tokens decode to, which may be truncated."""
    rows, counts = np.unique(windows.text_rows[:, -1], return_counts=True)
    tokens = decoder.tokenize([frames.texts[row] for row in rows.tolist()])
    texts = decoder.detokenize(torch.from_numpy(tokens.ids))
    words = [len(split_words(clean_text(text))) for text in texts]
    return int(np.asarray(words, np.int64) @ counts)


def _joined_series(parts: Sequence[Predictions | Unavailable], order: NDArray[np.int64]) -> Predictions | Unavailable:
    available = [part for part in parts if isinstance(part, Predictions)]
    if len(available) < len(parts):
        return next(part for part in parts if isinstance(part, Unavailable))
    texts = [text for part in available for text in part.texts]
    # Without vectors: each model has spaces of its own, and these have been measured by now.
    shown = [text for part in available for text in part.shown or ()]
    return Predictions(texts, JoinedRows([part.images for part in available]), shown=shown or None).take(order)
