"""The seed's way of scoring, leak by leak: a demonstration of what scores without a protocol are made of, no result.

docs/explanation/leaky-protocol.md says what each leak does and what is left once it is closed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ..api import Decoding, Metric, ScoresEveryPlace, SpaceMetric
from ..config.resolve import Choice
from ..config.schema import LEAKS, FeatureOptions
from ..data.batches import Contexts, Targets
from ..data.features import frozen_features
from ..data.prepared import Prepared, Windows
from ..data.shards import ChosenRows
from ..errors import VsrError
from ..model.losses.held_out import BATCH
from ..model.story_model import StoryModel
from .leakage import audit
from .normalize import clean_text, marked_text
from .predicting import predict_all
from .scoring import build_metrics, measure, reads_mentions
from .series import Series, Truth

TRAINING_WINDOWS = 10
"""How many training windows the seed scored itself on."""


@dataclass(frozen=True)
class _Answers:
    """What a model answers to some windows while some leaks are open, its texts as it wrote them."""

    prepared: Prepared
    windows: Windows
    series: Series


def leaky_steps(
    model: StoryModel,
    prepared: Prepared,
    split: str,
    choices: Sequence[Choice],
    *,
    leaks: Sequence[str],
    decoding: Decoding,
    device: torch.device,
    feature_options: FeatureOptions,
    training: Prepared,
) -> list[dict[str, Any]]:
    """Score one model with all `leaks` open, then with one after the other closed, in the order of `LEAKS`.

    The last step is scored as every evaluation is. Gives of each step which leaks are open, which one has just been
    closed, its windows and stories, the scores by metric, and the first window's texts. Metrics of spaces or of
    entities have no scores here, nor have those that cannot run. Raises VsrError if the decoder cannot be told the
    text up to each place, or training windows are asked for and not there.
    """
    metrics = {
        name: metric
        for name, metric in build_metrics(choices)[0].items()
        if not isinstance(metric, SpaceMetric) and not reads_mentions(metric)
    }
    model.to(device).eval()
    kept = prepared.windows(split).take(audit(prepared, split, training=training).kept)
    answered: dict[frozenset[str], _Answers] = {}
    steps = []
    for closed, still_open in _closing(leaks):
        source = frozenset(still_open) & {"training", "padding", "teacher-forcing"}
        if source not in answered:
            data, windows = (training, _training_windows(training)) if "training" in source else (prepared, kept)
            if "padding" in source:
                windows = _padded(windows)
            splits = ["train" if "training" in source else split]
            encoders: dict[str, Any] = {"visual": model.visual, "text": model.text}
            features = frozen_features(data, **encoders, device=device, options=feature_options, splits=splits)
            contexts = Contexts(data.frames, windows, **encoders, features=features, device=device)
            series = predict_all(model, contexts, decoding, what=f"predicting, {len(source)} leaks open", form=str)
            if "teacher-forcing" in source:
                targets = Targets(data.frames, windows, decoder=model.text_decoder, device=device)
                series = replace(series, texts=_told(model, contexts, targets))
            answered[source] = _Answers(data, windows, series)
        steps.append({"open": still_open, "closed": closed, **_scored(model, answered[source], metrics, still_open)})
    return steps


def _closing(leaks: Sequence[str]) -> Iterator[tuple[str | None, list[str]]]:
    """Yield the leak that has just been closed, and those still open."""
    still_open = [name for name in LEAKS if name in leaks]
    yield None, still_open
    while still_open:
        closed, *still_open = still_open
        yield closed, still_open


def _training_windows(training: Prepared) -> Windows:
    windows = training.windows("train")
    if not len(windows):
        raise VsrError(f"{training.folder}: has no training windows to score; leave the leak 'training' out of --leaks")
    return windows.take(np.linspace(0, len(windows) - 1, min(len(windows), TRAINING_WINDOWS)).round().astype(np.int64))


def _padded(windows: Windows) -> Windows:
    """Return every frame of the context the target's text, as repeating one text K + 1 times does."""
    return replace(windows, text_rows=np.repeat(windows.text_rows[:, -1:], windows.text_rows.shape[1], axis=1))


@torch.no_grad()
def _told(model: StoryModel, contexts: Contexts, targets: Targets) -> list[str]:
    """Return the likeliest token at each place of each target, told all of the target that stands before it."""
    decoder = model.text_decoder
    if not isinstance(decoder, ScoresEveryPlace):
        what = "the run's text decoder cannot be told the text up to each place"
        raise VsrError(f"--protocol leaky: {what}; leave the leak 'teacher-forcing' out of --leaks")
    eos = int(decoder.tokenize([""]).ids[0, 0])
    texts: list[str] = []
    for start in range(0, len(contexts), BATCH):
        indices = np.arange(start, min(start + BATCH, len(contexts)))
        target = targets.batch(indices)
        ids = decoder.logits(model.encode_context(contexts.batch(indices)), target.ids).argmax(
            dim=-1
        )  # (B, T, V) -> (B, T)
        # An end that is guessed too early ends nothing here: the next place is told the truth all the same.
        guessed = target.mask & (ids != eos)
        texts += [decoder.detokenize(row[written][None])[0] for row, written in zip(ids, guessed, strict=True)]
    return texts


def _scored(
    model: StoryModel, answers: _Answers, metrics: Mapping[str, Metric], still_open: Sequence[str]
) -> dict[str, Any]:
    form: Callable[[str], str] = marked_text if "markup" in still_open else clean_text
    frames, windows = answers.prepared.frames, answers.windows
    texts = [[frames.texts[row] for row in rows] for rows in windows.text_rows.tolist()]
    references = [row[-1] for row in texts]
    if "cut" in still_open:
        tokens = model.text_decoder.tokenize(references)
        references = model.text_decoder.detokenize(torch.from_numpy(tokens.ids))
    truth = Truth(
        stories=windows.stories,
        context_texts=[tuple(map(form, row[:-1])) for row in texts],
        references=list(map(form, references)),
        images=ChosenRows(frames.images, windows.image_rows[:, -1]),
    )
    series = replace(answers.series, texts=list(map(form, answers.series.texts)))
    statistics = measure(metrics, {"model": series}, truth)
    return {
        "windows": len(windows),
        "stories": len(set(windows.stories)),
        "scores": {name: metric.combine(statistics[name]["model"])[name] for name, metric in metrics.items()},
        "example": {"prediction": series.texts[0], "reference": truth.references[0]},
    }
