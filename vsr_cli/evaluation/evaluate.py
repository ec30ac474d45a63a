"""The evaluation pipeline: predictions in; statistics of metrics, baselines, intervals and verdicts out.

`evaluate` scores a run, or the runs of a cross-validation as one; `external_predictions.score_external` scores a file.
Both end in `finish`, which knows nothing of where the predictions came from.
"""

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
from ..data.prepared import Prepared
from ..data.prepared_types import Windows
from ..data.shards import Rows
from ..errors import VsrError
from ..model.loss_means import with_weight
from ..runs.results import BETTER, FORMAT, SHORT
from .baselines import SHUFFLE_SEED
from .copying import REPEATS_IMAGE, copied, copied_images
from .embeddings import Statistics
from .leakage import Audit, Leak, audit
from .model_predictions import Part, Predicted, join_parts, predict_part
from .predictions import Predictions
from .scoring import ScoredLines, Task, check_available, measure, metric_results, open_task
from .significance import HELD_OUT_ONCE, MORE_STORIES, RESAMPLES, SEED, few_stories

SHARP = 0.7
"""Of the targets' sharpness: images with less are visibly blurred, and those of a better error owe it to that."""
TEXT_NORMALIZATION = "normalized-3"
"""In signatures: the version of `clean_text`."""


@dataclass(frozen=True)
class Evaluation:
    """The result as JSON has it, and all that it was computed from."""

    result: dict[str, Any]
    predictions: Sequence[dict[str, Any]]
    """One per scored window, as a line of predictions.jsonl."""
    statistics: Statistics
    leaks: Sequence[Leak]
    windows: Windows
    """The scored windows."""
    images: Rows
    """The predicted images, (W, H, W, 3) uint8; (0, ...) where none are predicted."""


def evaluate(
    parts: Sequence[Part],
    prepared: Prepared,
    split: str,
    choices: Sequence[Choice],
    *,
    decoding: Decoding,
    device: torch.device,
    feature_options: FeatureOptions | None = None,
    checkpoint: str | None = None,
    cautions: Sequence[str] = (),
) -> Evaluation:
    """Predict every window of a split, each by the model of its part, and score them with baselines and upper bound.

    `prepared` has the windows of all parts in this split; the parts hold the same stories in other splits. Each part
    has baselines of its own training data; ranks are among the targets of the part. `checkpoint` is the digest of the
    weights, to which the result belongs; `cautions` are the caller's. Raises VsrError if the split holds no window, or
    none that is not a leak, or if no metric can run.
    """
    audits = [audit(part.prepared, split, training=part.training) for part in parts]
    found = _joined_audit(audits)
    if not len(found.leaks) < sum(len(part.prepared.windows(split)) for part in parts):
        left_out = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in found.counts.items() if count)
        raise VsrError(
            f"{prepared.folder}: no window of the {split} split can be scored"
            f"{f' (left out: {left_out})' if left_out else ''}; prepare more stories or choose another --split"
        )
    scored = [(part, each.scored) for part, each in zip(parts, audits, strict=True) if len(each.scored)]
    everything = prepared.windows(split)
    order, rows = _order(everything, [part.prepared.windows(split).take(own) for part, own in scored])
    task = open_task(prepared, split, everything.take(rows), choices)
    check_available(task.metrics, task.unavailable)
    in_spaces = {name: metric for name, metric in task.metrics.items() if isinstance(metric, SpaceMetric)}
    how: dict[str, Any] = {"decoding": decoding, "device": device, "options": feature_options or FeatureOptions()}
    predicted = join_parts([predict_part(part, split, own, in_spaces, **how) for part, own in scored], order)

    fingerprints = [part.training.fingerprint for part in parts]
    folds = len(parts) > 1
    facts = signature_facts(
        task,
        mode="free-running",
        counts={"folds": len(parts)} if folds else {},
        training=hashlib.sha256("|".join(fingerprints).encode()).hexdigest() if folds else fingerprints[0],
        model={**{f"decoding.{name}": value for name, value in decoding.facts().items()}, **predicted.facts},
    )
    if checkpoint is not None:
        facts["checkpoint"] = checkpoint[:SHORT]
    # As in validation: over all windows of the split, including those that are not scored.
    whole = {"stories": len(set(everything.stories)), "windows": len(everything), "mode": "teacher-forced"}
    record = {
        "checkpoint": checkpoint,
        "cautions": [*caution(task, MORE_STORIES if folds else HELD_OUT_ONCE), *predicted.cautions, *cautions],
        "decoding": decoding.facts(),
        "leaks": found.record(),
        "teacher_forced": {
            **_teacher_forced(predicted),
            "windows": len(everything),
            "signature": signature({**facts, **whole}),
        },
    }
    return finish(task, choices, predicted, facts=facts, record=record, leaks=found.leaks)


def finish(
    task: Task,
    choices: Sequence[Choice],
    predicted: Predicted,
    *,
    facts: Mapping[str, object],
    record: Mapping[str, Any],
    leaks: Sequence[Leak],
) -> Evaluation:
    """Measure the predictions by all metrics and assemble the result, to which `record` adds its fields."""
    available = {name: each for name, each in predicted.series.items() if isinstance(each, Predictions)}
    others = {name: metric for name, metric in task.metrics.items() if not isinstance(metric, SpaceMetric)}
    statistics = measure(others, available, task.references, choices) | predicted.in_spaces
    signed = signature(facts)
    results = metric_results(task, predicted.series, statistics, signature=signed)
    if blurred := blur_caution(results):
        results["mse"]["caution"] = blurred
    result = {
        "format": FORMAT,
        "signature": signed,
        "split": task.split,
        "held_out": task.split != "train",
        "stories": len(set(task.windows.stories)),
        "windows": len(task.windows),
        "truncated_references": predicted.truncated,
        "copied": copied_shares(task, available["model"], with_images=predicted.with_images),
        "metrics": {choice.name: results[choice.name] for choice in choices},
        **record,
    }
    lines = ScoredLines(task, available["model"], statistics)
    return Evaluation(result, lines, statistics, leaks, task.windows, available["model"].images)


def copied_shares(task: Task, predictions: Predictions, *, with_images: bool) -> dict[str, dict[str, float]] | None:
    """Return how much the predictions copy from their contexts, and the references; None where nothing is predicted."""
    with_texts = any(predictions.texts)
    if not with_texts and not with_images:
        return None
    references = task.references
    found: dict[str, dict[str, float]] = {"model": {}, "references": {}}
    for name, of in (("model", predictions), ("references", references)):
        if with_texts:
            found[name] |= copied(of.texts, references.context_texts)
        if with_images:
            found[name][REPEATS_IMAGE] = copied_images(of.images, task.prepared, task.windows)
    return found


def blur_caution(results: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Return a warning if the images have a better error than copying the last one because they are blurred."""
    error, sharpness = results.get("mse", {}), results.get("sharpness", {}).get("value")
    if sharpness is None or sharpness >= SHARP:
        return None
    if error.get("baselines", {}).get("copy-last", {}).get("verdict") != BETTER:
        return None
    return (
        f"mse: better than copy-last by blurring (sharpness {sharpness:.2g} of the targets'): blurred images have "
        "small errors whatever they show; look at the images, and compare sharpness and diversity-image"
    )


def caution(task: Task, remedy: str) -> list[str]:
    """Return what limits the scores of a split, a sentence each."""
    learned = "these are stories of the train split: the model scores better on them than on any others"
    few = few_stories(len(set(task.windows.stories)), remedy=remedy)
    return [*([learned] if task.split == "train" else []), *([few] if few else [])]


def signature(facts: Mapping[str, object]) -> str:
    """Return facts in the format of sacreBLEU's signatures."""
    return "|".join(f"{name}:{value}" for name, value in facts.items())


def signature_facts(
    task: Task, *, mode: str, counts: Mapping[str, int], training: str, model: Mapping[str, object]
) -> dict[str, object]:
    """Return everything that the scores depend on besides the metric: data, protocol, and the facts of the model."""
    data = task.prepared.manifest["data"]
    return {
        "vsr": __version__,
        "mode": mode,
        "split": task.split,
        "stories": len(set(task.windows.stories)),
        "windows": len(task.windows),
        **counts,
        "window": data["window"],
        "resize": task.prepared.resize,
        "data": task.prepared.fingerprint[:12],
        "splitby": data["split"],
        "splitseed": data["seed"],
        "training": training[:12],
        "text": TEXT_NORMALIZATION,
        **model,
        "shuffleseed": SHUFFLE_SEED,
        "bootstrap": f"stories-{RESAMPLES}-seed{SEED}",
    }


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


def _joined_audit(audits: Sequence[Audit]) -> Audit:
    """Return what several audits found in total; which windows are scored is in each of them."""
    if len(audits) == 1:
        return audits[0]
    counts = {reason: sum(each.counts[reason] for each in audits) for reason in audits[0].counts}
    return Audit(audits[0].scored[:0], counts, [leak for each in audits for leak in each.leaks])


def _order(everything: Windows, parts: Sequence[Windows]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the order that sorts the parts' windows as in the split, and their rows in the split in that order."""
    position = {key: row for row, key in enumerate(zip(everything.stories, everything.starts.tolist(), strict=True))}
    rows = [position[key] for part in parts for key in zip(part.stories, part.starts.tolist(), strict=True)]
    assert len(set(rows)) == len(rows), "a window is in two parts"
    order = np.argsort(np.asarray(rows, np.int64), kind="stable")
    return order, np.asarray(rows, np.int64)[order]


def _teacher_forced(predicted: Predicted) -> dict[str, Any]:
    """Return the mean losses that have a weight, and the perplexities per token of the run's vocabulary and per word.

    Those per word can be compared between vocabularies. None where there is no perplexity.
    """
    assert predicted.losses is not None
    losses = predicted.losses.means(predicted.weights)
    finite = predicted.models_text and losses["text"] < 700  # beyond, no float holds it
    tokens = int(predicted.losses.counts["text"])
    of_words = losses["text"] * tokens / max(predicted.words, 1)
    return {
        "losses": with_weight(losses, predicted.weights),
        "perplexity": math.exp(losses["text"]) if finite else None,
        "perplexity_per_word": math.exp(of_words) if finite and predicted.words and of_words < 700 else None,
        "tokens": tokens,
        "words": predicted.words,
    }
