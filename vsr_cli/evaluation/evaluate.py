"""The protocol: free-running predictions on a held-out split, scored beside their baselines and their ceiling."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .. import __version__
from ..api import Decoding, SpaceMetric
from ..config.resolve import Choice
from ..config.schema import FeatureOptions
from ..data.prepared import Prepared, Windows
from ..data.shards import Rows
from ..errors import VsrError
from ..model.losses.means import LossMeans
from ..model.story_model import StoryModel
from ..runs.results import SHORT
from .baselines import SHUFFLE_SEED
from .bootstrap import RESAMPLES, SEED
from .leakage import Audit, Leak, audit
from .metric_results import metric_cells, prediction_lines
from .predictions import Part, answer, joined
from .scoring import Statistics, build_metrics, check_available, measure, part_by_mentions
from .series import Series, read_truth
from .verdicts import HELD_OUT_ONCE, MORE_STORIES, few_stories


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
    """Predict every window of a split and score the predictions beside their baselines and their ceiling.

    `training` is the data that the model was trained on, where baselines and leaks are looked for (None: `prepared`);
    `checkpoint` is the digest of the model's weights, to which the result then belongs; `known` is what the caller
    knows against the scores. Raises VsrError if the split holds no window, or none that is not a leak, or if no metric
    can run.
    """
    part = Part(prepared, training or prepared, lambda: model)
    how: dict[str, Any] = {"decoding": decoding, "device": device, "feature_options": feature_options}
    return evaluate_parts([part], prepared, split, choices, **how, checkpoint=checkpoint, known=known)


def evaluate_parts(
    parts: Sequence[Part],
    prepared: Prepared,
    split: str,
    choices: Sequence[Choice],
    *,
    decoding: Decoding,
    device: torch.device,
    feature_options: FeatureOptions | None = None,
    checkpoint: str | None = None,
    known: Sequence[str] = (),
) -> Evaluation:
    """Score what several models answer, each to the windows of its part, as one model's answers are scored.

    `prepared` has the windows of all parts in this split; the parts hold the same stories in other splits. Each part
    has baselines of its own training data; ranks are among the targets of the part. Raises VsrError as `evaluate`.
    """
    audits = [audit(part.prepared, split, training=part.training) for part in parts]
    found = _together(audits)
    if not len(found.leaks) < sum(len(part.prepared.windows(split)) for part in parts):
        left_out = ", ".join(f"{count} {name}" for name, count in found.counts.items() if count)
        raise VsrError(
            f"{prepared.folder}: no window of the {split} split can be scored"
            f"{f' (left out: {left_out})' if left_out else ''}; prepare more stories or choose another --split"
        )
    scored = [(part, each) for part, each in zip(parts, audits, strict=True) if len(each.kept)]
    everything = prepared.windows(split)
    order, rows = _places(everything, [part.prepared.windows(split).take(each.kept) for part, each in scored])
    windows = everything.take(rows)
    metrics, unavailable = build_metrics(choices)
    metrics, unmarked, truth = part_by_mentions(metrics, prepared, windows, read_truth(prepared.frames, windows))
    unavailable |= unmarked
    check_available(metrics, unavailable)
    in_spaces = {name: metric for name, metric in metrics.items() if isinstance(metric, SpaceMetric)}
    others = {name: metric for name, metric in metrics.items() if not isinstance(metric, SpaceMetric)}
    how: dict[str, Any] = {"decoding": decoding, "device": device, "options": feature_options or FeatureOptions()}
    answers = [answer(part, split, each, in_spaces, **how) for part, each in scored]
    together = joined(answers, [len(each.kept) for _, each in scored], order)
    series = together.series
    there = {name: each for name, each in series.items() if isinstance(each, Series)}
    statistics = measure(others, there, truth) | together.in_spaces

    stories = len(set(windows.stories))
    facts = _facts(prepared, split, parts, together.facts, decoding) | {"stories": stories, "windows": len(windows)}
    if checkpoint is not None:
        facts["checkpoint"] = checkpoint[:SHORT]
    cells: dict[str, dict[str, Any]] = {name: {"unavailable": reason} for name, reason in unavailable.items()}
    cells |= metric_cells(metrics, statistics, windows.stories, series=series, signature=signature(facts))
    # As training validates: over all windows of the split, also those that are left out of the scores.
    whole = {"stories": len(set(everything.stories)), "windows": len(everything)}
    result = {
        "signature": signature(facts),
        "checkpoint": checkpoint,
        "split": split,
        "held_out": split != "train",
        "stories": stories,
        "windows": len(windows),
        "cautions": [*cautions(split, stories, remedy=HELD_OUT_ONCE if len(parts) == 1 else MORE_STORIES), *known],
        "decoding": decoding.facts(),
        "truncated_references": together.truncated,
        "leaks": found.record(),
        "metrics": {choice.name: cells[choice.name] for choice in choices},
        "teacher_forced": {
            **_teacher_forced(together.losses, together.weights),
            "windows": len(everything),
            "signature": signature({**facts, **whole, "mode": "teacher-forced"}),
        },
    }
    model = series["model"]
    assert isinstance(model, Series)
    lines = prediction_lines(windows, model, truth, metrics=metrics, statistics=statistics)
    return Evaluation(result, lines, statistics, found.leaks, windows, model.images)


def _together(audits: Sequence[Audit]) -> Audit:
    """Return what several audits found in all; which windows are kept is for each to say."""
    first, *others = audits
    if not others:
        return first
    counts = {reason: sum(each.counts[reason] for each in audits) for reason in first.counts}
    return Audit(first.kept[:0], counts, [leak for each in audits for leak in each.leaks])


def _places(everything: Windows, parts: Sequence[Windows]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return in which order the windows of some parts stand in a split, and which of the split's windows they are."""
    place = {key: row for row, key in enumerate(zip(everything.stories, everything.starts.tolist(), strict=True))}
    rows = [place[key] for part in parts for key in zip(part.stories, part.starts.tolist(), strict=True)]
    assert len(set(rows)) == len(rows), "a window is in two parts"
    order = np.argsort(np.asarray(rows, np.int64), kind="stable")
    return order, np.asarray(rows, np.int64)[order]


def _teacher_forced(means: LossMeans, weights: Mapping[str, float]) -> dict[str, Any]:
    """Return the mean losses, and the perplexity per token of the run's own vocabulary."""
    losses = means.means(weights)
    return {
        "losses": losses,
        "perplexity": math.exp(losses["text"]) if losses["text"] < 700 else None,  # beyond, no float holds it
        "tokens": int(means.counts["text"]),
    }


def cautions(split: str, stories: int, *, remedy: str = HELD_OUT_ONCE) -> list[str]:
    """Return what speaks against the scores of so many stories of a split, a sentence each."""
    learned = "these are stories of the train split: what learned from them scores better there than on any others"
    few = few_stories(stories, remedy=remedy)
    return [*([learned] if split == "train" else []), *([few] if few else [])]


def signature(facts: Mapping[str, object]) -> str:
    """Write facts as sacreBLEU does."""
    return "|".join(f"{name}:{value}" for name, value in facts.items())


def _facts(
    prepared: Prepared, split: str, parts: Sequence[Part], of_model: Mapping[str, object], decoding: Decoding
) -> dict[str, object]:
    """Name everything that the scores depend on besides the model and the metric."""
    data = prepared.manifest["data"]
    folds = {"folds": len(parts)} if len(parts) > 1 else {}
    learned = [part.training.fingerprint for part in parts]
    training = learned[0] if len(parts) == 1 else hashlib.sha256("|".join(learned).encode()).hexdigest()
    facts: dict[str, object] = {
        "vsr": __version__,
        "mode": "free-running",
        "split": split,
        **folds,
        "stories": None,
        "windows": None,
        "window": data["window"],
        "resize": prepared.resize,
        "data": prepared.fingerprint[:12],
        "splitby": data["split"],
        "splitseed": data["seed"],
        "training": training[:12],
        "text": "normalized-3",
        "maxlength": of_model["maxlength"],
        **{f"decoding.{name}": value for name, value in decoding.facts().items()},
        "shuffleseed": SHUFFLE_SEED,
        **{name: value for name, value in of_model.items() if name != "maxlength"},
        "bootstrap": f"stories-{RESAMPLES}-seed{SEED}",
    }
    return facts


def check_preparation(prepared: Prepared, run_config: Mapping[str, Any]) -> None:
    """Raise VsrError if data has another image size, resize mode or context length than the run was trained on."""
    size, resize = int(run_config["data"]["image_size"]), run_config["data"]["resize"]
    context_frames = int(run_config["data"]["context_frames"])
    if prepared.context_frames != context_frames:
        raise VsrError(
            f"{prepared.folder}: prepared with context_frames={prepared.context_frames}, the run was trained with "
            f"{context_frames}; prepare it with --set data.context_frames={context_frames}"
        )
    if (prepared.image_size, prepared.resize) != (size, resize):
        raise VsrError(
            f"{prepared.folder}: prepared at {prepared.image_size} pixels by {prepared.resize}, the run was trained at "
            f"{size} by {resize}; prepare it with --resize {resize} --set data.image_size={size}"
        )
