"""The protocol: free-running predictions on a held-out split, scored beside their floors and their ceiling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from .. import __version__
from ..api import Decoding, SpaceMetric
from ..data.batches import Contexts
from ..data.prepared import Prepared, Windows
from ..data.shards import Rows
from ..errors import VsrError
from ..layers import Choice
from ..model.loss_means import open_split
from ..model.spaces import Spaces, Vectors
from ..model.story_model import StoryModel
from ..sections import FeatureOptions
from .bootstrap import RESAMPLES, SEED
from .cells import metric_cells, prediction_lines
from .floors import SHUFFLE_SEED, Unavailable, ceiling, copy_last, shuffled
from .leaks import Leak, audit
from .placing import place
from .predicting import predict_all
from .scoring import Statistics, build_metrics, check_available, measure, measure_in_spaces, part_by_mentions
from .series import Series, read_truth
from .stored import SHORT
from .teacher_forced import teacher_forced
from .training import Training
from .verdicts import HELD_OUT_ONCE, few_stories


@dataclass(frozen=True)
class Evaluation:
    """What came out: the result as JSON has it, and all that it was made of."""

    result: dict[str, Any]
    predictions: list[dict[str, Any]]
    """One of each scored window, as a line of predictions.jsonl has it."""
    statistics: Statistics
    leaks: Sequence[Leak]
    windows: Windows
    """The scored windows."""
    images: Rows
    """The predicted pictures, (W, H, W, 3) uint8; (0, ...) where none are predicted."""


def evaluate(
    model: StoryModel,
    prepared: Prepared,
    split: str,
    choices: Sequence[Choice],
    *,
    decoding: Decoding,
    device: torch.device,
    feature_options: FeatureOptions | None = None,
    training: Prepared | None = None,
    checkpoint: str | None = None,
    known: Sequence[str] = (),
) -> Evaluation:
    """Predict every window of a split and score the predictions beside their floors and their ceiling.

    `training` is the data that the model was trained on, where floors and leaks are looked for (None: `prepared`);
    `checkpoint` is the digest of the model's weights, to which the result then belongs; `known` is what the caller
    knows against the scores. Raises VsrError if the split holds no window, or none that is not a leak, or if no metric
    can run.
    """
    training = training or prepared
    everything = prepared.windows(split)
    found = audit(prepared, split, training=training)
    if not len(found.kept):
        left_out = ", ".join(f"{count} {name}" for name, count in found.counts.items() if count)
        raise VsrError(
            f"{prepared.folder}: no window of the {split} split can be scored"
            f"{f' (left out: {left_out})' if left_out else ''}; prepare more stories or choose another --split"
        )
    windows = everything.take(found.kept)
    metrics, unavailable = build_metrics(choices)
    metrics, unmarked, truth = part_by_mentions(metrics, prepared, windows, read_truth(prepared.frames, windows))
    unavailable |= unmarked
    check_available(metrics, unavailable)
    in_spaces = {name: metric for name, metric in metrics.items() if isinstance(metric, SpaceMetric)}
    others = {name: metric for name, metric in metrics.items() if not isinstance(metric, SpaceMetric)}
    model.to(device).eval()
    options = feature_options or FeatureOptions()
    placed = place(model, prepared, split, training=training, device=device, options=options)
    encoded: dict[str, Any] = {"visual": model.visual, "text": model.text, "features": placed.features}
    contexts = Contexts(prepared.frames, windows, **encoded, device=device)
    answers = predict_all(model, contexts, decoding, what=f"predicting the {split} split")

    spaces, learned = placed.spaces, placed.learned
    scored = placed.vectors.take(found.kept)
    if in_spaces:
        answers = _in_spaces(answers, spaces)
    series: dict[str, Series | Unavailable] = {"model": answers}
    series["copy-last"] = copy_last(prepared.frames, windows, truth, scored)
    series |= placed.floors(found.kept)
    series["shuffled"] = shuffled(answers, windows.stories)
    top = ceiling(
        model.text_decoder, prepared.frames, windows, truth, vectors=scored, spaces=spaces if in_spaces else None
    )
    series["ceiling"] = top.series
    there = {name: each for name, each in series.items() if isinstance(each, Series)}
    means: dict[str, Vectors] = {}
    if isinstance(learned, Training):
        means = {"visual": learned.visual_mean, "text": learned.text_mean}
    statistics = measure(others, there, truth) | measure_in_spaces(
        in_spaces, there, everything, found.kept, vectors=placed.vectors, means=means
    )

    stories = len(set(windows.stories))
    facts = _facts(prepared, split, stories, len(windows), model, decoding, training, spaces)
    if checkpoint is not None:
        facts["checkpoint"] = checkpoint[:SHORT]
    cells: dict[str, dict[str, Any]] = {name: {"unavailable": reason} for name, reason in unavailable.items()}
    cells |= metric_cells(metrics, statistics, windows.stories, series=series, signature=signature(facts))
    # As training validates: over all windows of the split, also those that are left out of the scores.
    forced = teacher_forced(model, open_split(model, prepared, split, placed.features, device=device))
    whole = {"stories": len(set(everything.stories)), "windows": len(everything)}
    result = {
        "signature": signature(facts),
        "checkpoint": checkpoint,
        "split": split,
        "held_out": split != "train",
        "stories": stories,
        "windows": len(windows),
        "cautions": [*cautions(split, stories), *known],
        "decoding": decoding.facts(),
        "truncated_references": top.truncated,
        "leaks": found.record(),
        "metrics": {choice.name: cells[choice.name] for choice in choices},
        "teacher_forced": {**forced, "signature": signature({**facts, **whole, "mode": "teacher-forced"})},
    }
    lines = prediction_lines(windows, answers, truth, metrics=metrics, statistics=statistics)
    return Evaluation(result, lines, statistics, found.leaks, windows, answers.images)


def cautions(split: str, stories: int, *, remedy: str = HELD_OUT_ONCE) -> list[str]:
    """Return what speaks against the scores of so many stories of a split, a sentence each."""
    learned = "these are stories of the train split: what learned from them scores better there than on any others"
    few = few_stories(stories, remedy=remedy)
    return [*([learned] if split == "train" else []), *([few] if few else [])]


def signature(facts: Mapping[str, object]) -> str:
    """Write facts as sacreBLEU does."""
    return "|".join(f"{name}:{value}" for name, value in facts.items())


def _facts(
    prepared: Prepared,
    split: str,
    stories: int,
    windows: int,
    model: StoryModel,
    decoding: Decoding,
    training: Prepared,
    spaces: Spaces,
) -> dict[str, object]:
    """Name everything that the scores depend on besides the model and the metric."""
    data = prepared.manifest["data"]
    return {
        "vsr": __version__,
        "mode": "free-running",
        "split": split,
        "stories": stories,
        "windows": windows,
        "window": data["window"],
        "resize": prepared.resize,
        "data": prepared.fingerprint[:12],
        "splitby": data["split"],
        "splitseed": data["seed"],
        "training": training.fingerprint[:12],
        "text": "one-form-3",
        "maxlength": model.text_decoder.tokenize([""]).ids.shape[1],
        **{f"decoding.{name}": value for name, value in decoding.facts().items()},
        "shuffleseed": SHUFFLE_SEED,
        **{f"space.{name}": value for name, value in spaces.signature.items()},
        "ranking": "written" if model.next_frame is None else "query",
        "bootstrap": f"stories-{RESAMPLES}-seed{SEED}",
    }


def _in_spaces(answers: Series, spaces: Spaces) -> Series:
    """Place the model's answers in its own spaces."""
    visual = spaces.images(answers.images, np.arange(len(answers.texts)))
    return replace(answers, visual=visual, text=spaces.written(answers.texts))


def check_image_size(prepared: Prepared, run_config: Mapping[str, Any]) -> None:
    """Raise VsrError if data's images were made to another size, or otherwise, than those a run was trained on."""
    size, resize = int(run_config["data"]["image_size"]), run_config["data"]["resize"]
    if (prepared.image_size, prepared.resize) != (size, resize):
        raise VsrError(
            f"{prepared.folder}: prepared at {prepared.image_size} pixels by {prepared.resize}, the run was trained at "
            f"{size} by {resize}; prepare it with --resize {resize} --set data.image_size={size}"
        )
