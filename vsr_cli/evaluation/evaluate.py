"""Scoring a model's free-running predictions on a held-out split, each score beside its floor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .. import __version__
from ..api import Decoding, Metric, Sample
from ..config import CONTEXT_FRAMES, FeatureOptions
from ..console import progress
from ..data.batches import Contexts
from ..data.features import frozen_features
from ..data.lint import target_in_context
from ..data.prepared import Frames, Prepared, Windows
from ..errors import VsrError
from ..layers import Choice
from ..model.story_model import StoryModel
from ..plugin.loading import build
from .text import clean_text

BATCH = 32


@dataclass(frozen=True)
class Leaks:
    """Windows that are left out, since their score would say nothing: by reason."""

    target_text_in_context: int
    target_image_in_context: int
    padded: int

    def record(self) -> dict[str, int]:
        """Give the counts by name."""
        return {
            "target_text_in_context": self.target_text_in_context,
            "target_image_in_context": self.target_image_in_context,
            "padded": self.padded,
        }


@dataclass(frozen=True)
class Evaluation:
    """What came out: the result as JSON has it, and some predictions to look at."""

    result: dict[str, Any]
    predictions: list[dict[str, Any]]
    shown: list[tuple[int, str, NDArray[np.uint8]]]
    """For the pictures: a window's number among the scored ones, its predicted text and image (H, W, 3)."""
    windows: Windows
    """The scored windows."""


def leave_out_leaks(windows: Windows) -> tuple[Windows, Leaks]:
    """Leave out windows whose target's text or image is among their inputs, and padded ones."""
    text, image = target_in_context(windows.text_rows), target_in_context(windows.image_rows)  # (W,)
    padded = windows.repeated.any(axis=1)
    leaks = Leaks(int(text.sum()), int(image.sum()), int(padded.sum()))
    return windows.take(np.flatnonzero(~(text | image | padded))), leaks


@dataclass(frozen=True)
class _Runnable:
    name: str
    metric: Metric


def build_metrics(choices: Sequence[Choice]) -> tuple[list[_Runnable], dict[str, str]]:
    """Build the metrics that can run here, and say of the others what they lack."""
    runnable: list[_Runnable] = []
    unavailable: dict[str, str] = {}
    for choice in choices:
        try:
            runnable.append(_Runnable(choice.name, build(choice.provided, choice.options)))
        except VsrError as error:
            unavailable[choice.name] = str(error)
    return runnable, unavailable


def evaluate(
    model: StoryModel,
    prepared: Prepared,
    split: str,
    choices: Sequence[Choice],
    *,
    decoding: Decoding,
    device: torch.device,
    feature_options: FeatureOptions | None = None,
    show: int = 6,
) -> Evaluation:
    """Predict every window of a split and score the predictions and the copy-last floor.

    Raises VsrError if the split holds no window, or none that is not a leak.
    """
    windows, leaks = leave_out_leaks(prepared.windows(split))
    if not len(windows):
        left_out = ", ".join(f"{count} {name}" for name, count in leaks.record().items() if count)
        raise VsrError(
            f"{prepared.folder}: no window of the {split} split can be scored"
            f"{f' (left out: {left_out})' if left_out else ''}; prepare more stories or choose another --split"
        )
    runnable, unavailable = build_metrics(choices)
    model.to(device).eval()
    features = frozen_features(
        prepared, model.visual, model.text, device=device, options=feature_options or FeatureOptions(), splits=[split]
    )
    contexts = Contexts(
        prepared.frames, windows, visual=model.visual, text=model.text, features=features, device=device
    )
    picked = set(np.linspace(0, len(windows) - 1, min(show, len(windows))).round().astype(int).tolist())
    ours: dict[str, list[NDArray[np.float64]]] = {item.name: [] for item in runnable}
    floor: dict[str, list[NDArray[np.float64]]] = {item.name: [] for item in runnable}
    predictions: list[dict[str, Any]] = []
    shown: list[tuple[int, str, NDArray[np.uint8]]] = []
    with progress() as bar:
        task = bar.add_task(f"predicting the {split} split", total=len(windows))
        for indices in _batches(len(windows)):
            prediction = model.predict(contexts.batch(indices), decoding)
            images = to_bytes(prediction.images)
            truth = _truth(prepared.frames, windows, indices)
            predicted = truth.samples(prediction.texts, images)
            copied = truth.samples(truth.last_texts, truth.last_images)
            for item in runnable:
                ours[item.name].append(item.metric.measure(predicted))
                floor[item.name].append(item.metric.measure(copied))
            for index, sample, image in zip(indices.tolist(), predicted, images, strict=True):
                predictions.append(
                    {
                        "story": sample.story,
                        "start": int(windows.starts[index]),
                        "prediction": sample.predicted_text,
                        "reference": sample.reference_text,
                    }
                )
                if index in picked:
                    shown.append((index, sample.predicted_text, image))
            bar.advance(task, len(indices))
    metrics = {
        item.name: _score(item, np.concatenate(ours[item.name]), np.concatenate(floor[item.name])) for item in runnable
    }
    metrics |= {name: {"unavailable": reason} for name, reason in unavailable.items()}
    stories = len(set(windows.stories))
    result = {
        "signature": signature(prepared, split, stories, len(windows), decoding),
        "split": split,
        "stories": stories,
        "windows": len(windows),
        "leaks": leaks.record(),
        "metrics": {choice.name: metrics[choice.name] for choice in choices},
    }
    return Evaluation(result, predictions, shown, windows)


def signature(prepared: Prepared, split: str, stories: int, windows: int, decoding: Decoding) -> str:
    """Name everything that the scores depend on besides the model and the metric."""
    facts = {
        "vsr": __version__,
        "mode": "free-running",
        "split": split,
        "stories": stories,
        "windows": windows,
        "window": prepared.manifest["data"]["window"],
        "resize": prepared.resize,
        "data": prepared.fingerprint[:12],
        "splitby": prepared.manifest["data"]["split"],
        "splitseed": prepared.manifest["data"]["seed"],
        **{f"decoding.{name}": value for name, value in decoding.model_dump().items()},
    }
    return "|".join(f"{name}:{value}" for name, value in facts.items())


def to_bytes(images: torch.Tensor) -> NDArray[np.uint8]:
    """Turn images (B, 3, H, W) in [0, 1] into (B, H, W, 3) uint8."""
    array: NDArray[np.uint8] = (images * 255).round().byte().movedim(1, -1).cpu().numpy()
    return array


@dataclass(frozen=True)
class _Truth:
    stories: list[str]
    context_texts: list[tuple[str, ...]]
    references: list[str]
    reference_images: NDArray[np.uint8]
    last_images: NDArray[np.uint8]

    @property
    def last_texts(self) -> list[str]:
        return [texts[-1] for texts in self.context_texts]

    def samples(self, texts: Sequence[str], images: NDArray[np.uint8]) -> list[Sample]:
        return [
            Sample(
                story=story,
                context_texts=context,
                predicted_text=clean_text(text),
                reference_text=reference,
                predicted_image=image,
                reference_image=reference_image,
            )
            for story, context, text, reference, image, reference_image in zip(
                self.stories,
                self.context_texts,
                texts,
                self.references,
                images,
                self.reference_images,
                strict=True,
            )
        ]


def _truth(frames: Frames, windows: Windows, indices: NDArray[np.int64]) -> _Truth:
    """Look up what really followed. Only scoring calls this; the model has predicted by then."""
    texts = [[clean_text(frames.texts[row]) for row in rows] for rows in windows.text_rows[indices].tolist()]
    return _Truth(
        stories=[windows.stories[index] for index in indices],
        context_texts=[tuple(row[:CONTEXT_FRAMES]) for row in texts],
        references=[row[CONTEXT_FRAMES] for row in texts],
        reference_images=frames.images.gather(windows.image_rows[indices, CONTEXT_FRAMES]),
        last_images=frames.images.gather(windows.image_rows[indices, CONTEXT_FRAMES - 1]),
    )


def _score(item: _Runnable, ours: NDArray[np.float64], floor: NDArray[np.float64]) -> dict[str, Any]:
    scores, floor_scores = item.metric.combine(ours), item.metric.combine(floor)
    headline, *further = scores
    value, copied = scores[headline], floor_scores[headline]
    beats = value > copied if item.metric.better == "higher" else value < copied
    return {
        "value": value,
        "scale": item.metric.scale,
        "better": item.metric.better,
        "signature": item.metric.signature,
        "further": {name: scores[name] for name in further},
        "floors": {"copy-last": {"value": copied, "beats": bool(beats)}},
    }


def _batches(count: int) -> Iterator[NDArray[np.int64]]:
    for start in range(0, count, BATCH):
        yield np.arange(start, min(start + BATCH, count))


def check_image_size(prepared: Prepared, run_config: Mapping[str, Any]) -> None:
    """Raise VsrError if data's images were made to another size, or otherwise, than those a run was trained on."""
    size, resize = int(run_config["data"]["image_size"]), run_config["data"]["resize"]
    if (prepared.image_size, prepared.resize) != (size, resize):
        raise VsrError(
            f"{prepared.folder}: prepared at {prepared.image_size} pixels by {prepared.resize}, the run was trained at "
            f"{size} by {resize}; prepare it with --resize {resize} --set data.image_size={size}"
        )
