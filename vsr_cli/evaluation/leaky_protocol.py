"""The seed's way of scoring, leak by leak: a demonstration of what scores without a protocol are made of, no result.

docs/explanation/leaky-protocol.md says what each leak does and what is left once it is closed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ..api import Decoding, Metric, ReadsReferences, ScoresEveryPlace, SpaceMetric
from ..config.resolve import Choice
from ..config.schema import LEAKS, FeatureOptions
from ..data.batches import Contexts, Targets
from ..data.cache.encoding import BATCH
from ..data.cache.extraction import frozen_features
from ..data.prepared import Prepared
from ..data.prepared_types import Windows
from ..data.shards import ChosenRows
from ..errors import VsrError
from ..model.story_model import StoryModel
from .leakage import audit
from .normalize import clean_text, marked_text
from .predictions import Predictions, References, predict_all
from .scoring import build_metrics, foreign_data, measure, reads_mentions

TRAINING_WINDOWS = 10
"""The number of training windows on which the reference design was scored."""


@dataclass(frozen=True)
class _Leaky:
    """What a model predicts for some windows while some leaks are open; texts are not normalized."""

    prepared: Prepared
    windows: Windows
    predictions: Predictions


def leaky_steps(
    model: StoryModel,
    prepared: Prepared,
    split: str,
    choices: Sequence[Choice],
    *,
    leaks: Sequence[str] = tuple(LEAKS),
    decoding: Decoding,
    device: torch.device,
    feature_options: FeatureOptions,
    training: Prepared,
) -> list[dict[str, Any]]:
    """Score one model with all `leaks` open, then with one after the other closed, in the order of `LEAKS`.

    The last step is scored like every evaluation. A step states the open leaks, the one just closed, the numbers of
    windows and stories, the scores by metric, and the first window's texts. Metrics in embedding spaces or of entities
    have no scores here. Raises VsrError if the decoder cannot be teacher-forced, or there are no training windows.
    """
    metrics = {
        name: metric
        for name, metric in build_metrics(choices)[0].items()
        if not (isinstance(metric, SpaceMetric) or reads_mentions(metric) or foreign_data(name, metric, prepared))
    }
    model.to(device).eval()
    held_out = prepared.windows(split).take(audit(prepared, split, training=training).scored)
    predicted: dict[frozenset[str], _Leaky] = {}
    steps = []
    for closed, still_open in _closing(leaks):
        source = frozenset(still_open) & {"training", "padding", "teacher-forcing"}
        if source not in predicted:
            data, windows = (training, _training_windows(training)) if "training" in source else (prepared, held_out)
            if "padding" in source:
                windows = _padded(windows)
            splits = ["train" if "training" in source else split]
            encoders: dict[str, Any] = {"visual": model.visual, "text": model.text}
            features = frozen_features(data, **encoders, device=device, options=feature_options, splits=splits)
            contexts = Contexts(data.frames, windows, **encoders, features=features, device=device)
            predictions = predict_all(
                model, contexts, decoding, description=f"predicting, {len(source)} leaks open", normalize=str
            )
            if "teacher-forcing" in source:
                targets = Targets(data.frames, windows, decoder=model.text_decoder, device=device)
                predictions = replace(predictions, texts=_teacher_forced(model, contexts, targets))
            predicted[source] = _Leaky(data, windows, predictions)
        steps.append({"open": still_open, "closed": closed, **_scored(model, predicted[source], metrics, still_open)})
    return steps


def _closing(leaks: Sequence[str]) -> Iterator[tuple[str | None, list[str]]]:
    """Yield the leak that was just closed, and those still open."""
    still_open = [name for name in LEAKS if name in leaks]
    yield None, still_open
    while still_open:
        closed, *still_open = still_open
        yield closed, still_open


def _training_windows(training: Prepared) -> Windows:
    windows = training.windows("train")
    if not len(windows):
        raise VsrError(
            f"{training.folder}: has no training windows for --protocol leaky; name the training data with --data"
        )
    return windows.take(np.linspace(0, len(windows) - 1, min(len(windows), TRAINING_WINDOWS)).round().astype(np.int64))


def _padded(windows: Windows) -> Windows:
    """Return windows with the target's text in every frame, as if one text were repeated five times."""
    return replace(windows, text_rows=np.repeat(windows.text_rows[:, -1:], windows.text_rows.shape[1], axis=1))


@torch.no_grad()
def _teacher_forced(model: StoryModel, contexts: Contexts, targets: Targets) -> list[str]:
    """Return the most likely token at each position of each target, given the target before it."""
    decoder = model.text_decoder
    if not isinstance(decoder, ScoresEveryPlace):
        raise VsrError("--protocol leaky: the run's text decoder cannot be teacher-forced; score a run with gru")
    eos = int(decoder.tokenize([""]).ids[0, 0])
    texts: list[str] = []
    for start in range(0, len(contexts), BATCH):
        indices = np.arange(start, min(start + BATCH, len(contexts)))
        target = targets.batch(indices)
        logits = decoder.logits(model.encode_context(contexts.batch(indices)), target.ids)
        ids = logits.argmax(dim=-1)  # (B, T, V) -> (B, T)
        # An end that is predicted too early does not end the text: the next position sees the target all the same.
        guessed = target.mask & (ids != eos)
        texts += [decoder.detokenize(row[written][None])[0] for row, written in zip(ids, guessed, strict=True)]
    return texts


def _scored(
    model: StoryModel, leaky: _Leaky, metrics: Mapping[str, Metric], still_open: Sequence[str]
) -> dict[str, Any]:
    normalize: Callable[[str], str] = marked_text if "markup" in still_open else clean_text
    frames, windows = leaky.prepared.frames, leaky.windows
    texts = [[frames.texts[row] for row in rows] for rows in windows.text_rows.tolist()]
    targets = [row[-1] for row in texts]
    if "cut" in still_open:
        tokens = model.text_decoder.tokenize(targets)
        targets = model.text_decoder.detokenize(torch.from_numpy(tokens.ids))
    references = References(
        stories=windows.stories,
        context_texts=[tuple(map(normalize, row[:-1])) for row in texts],
        texts=list(map(normalize, targets)),
        images=ChosenRows(frames.images, windows.image_rows[:, -1]),
    )
    predictions = replace(leaky.predictions, texts=list(map(normalize, leaky.predictions.texts)))
    for metric in metrics.values():
        if isinstance(metric, ReadsReferences):
            metric.read_references(references.texts)  # those of this step
    statistics = measure(metrics, {"model": predictions}, references)
    return {
        "windows": len(windows),
        "stories": len(set(windows.stories)),
        "scores": {name: metric.combine(statistics[name]["model"])[name] for name, metric in metrics.items()},
        "example": {"prediction": predictions.texts[0], "reference": references.texts[0]},
    }
