"""The facts about an evaluation that pages and Markdown state: its model, training, data, baselines and leaks."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..errors import VsrError
from ..files.atomic import read_json
from ..files.strict_json import to_json
from ..plugin.discovery import registry
from ..plugin.kinds import KIND_OF, MODEL_COMPONENTS
from ..quantities import counted
from ..runs.history import best_row, watched_loss
from ..runs.results import Evaluated
from ..runs.run import Run
from .formatting import clock, loss_text, short

Facts = dict[str, str]
SHOWN_VERSIONS = ("vsr", "python", "torch", "transformers")
STEP_OPTIONS = ("batch_size", "gradient_accumulation_steps", "learning_rate", "schedule", "warmup_ratio")
"""The options of training that define a step."""
LEFT_OUT = "left_out"
"""Among the leaks: how many windows are left out in total."""
REASONS = {
    "target_text_in_context": "the target's text is in the context",
    "target_image_in_context": "the target's image is in the context",
    "padded": "a short story is padded",
    "story_in_training": "the story was seen in training",
    "near_duplicate_across_splits": "the target's image is a near-duplicate of one seen in training",
}
"""Why a window is left out."""
MEANING_OF_BASELINE = {
    "copy-last": "repeats the image and text of the last context frame",
    "best-context": "repeats the context frame whose text overlaps most with the other texts of the context",
    "nearest-neighbor": "the continuation of the training story with the most similar beginning",
    "mean": "the most central text and the mean image of the training stories",
    "mean-context": "the mean of the context frames in the run's own space",
    "copy-last-centred": "the last context frame minus the training mean, in the run's own space",
    "mean-context-centred": "the mean of the context frames minus the training mean, in the run's own space",
    "shuffled-context": "the same model with the beginning of another story as context",
}


def how_predicted(evaluated: Evaluated) -> str:
    """Return whether the predictions are external, or free-running ones of a model."""
    return "external predictions" if evaluated.facts.get("mode") in ("given", "external") else "free-running"


def described_baselines(evaluated: Evaluated) -> dict[str, str]:
    """Return the baselines of an evaluation, each with its description; empty for an unknown one."""
    names = dict.fromkeys(name for cell in evaluated.available.values() for name in cell["baselines"])
    return {name: MEANING_OF_BASELINE.get(name, "") for name in names}


def leaks_line(leaks: Mapping[str, int]) -> str:
    """Return how many windows are left out of the scores, and for how many by each reason; empty without any."""
    found = {reason: count for reason, count in leaks.items() if count and reason != LEFT_OUT}
    if not found:
        return ""
    listed = ", ".join(f"{count} because {REASONS.get(reason, reason)}" for reason, count in found.items())
    total = leaks.get(LEFT_OUT, max(found.values()))
    several = "; a window may have several reasons" if sum(found.values()) > total else ""
    return f"{counted(total, 'window')} ({listed}{several})"


def copied_shares(result: Mapping[str, Any]) -> dict[str, str]:
    """Return how much the predictions copy from their contexts, by what is measured."""
    shares = result["copied"]
    if shares is None:
        return {}
    model, references = shares["model"], shares["references"]
    titles = {
        "repeats_context": "predicted texts that repeat a text of their context",
        "context-overlap-4": "4-grams of predicted texts that stand in their context",
        "image_repeats_context": "predicted images that are near-duplicates of an image of their context",
    }
    return {
        title: f"{model[name]:.1%} (references: {references[name]:.1%})"
        for name, title in titles.items()
        if name in model
    }


def teacher_forced_numbers(result: Mapping[str, Any]) -> dict[str, str]:
    """Return the losses and the perplexity measured with teacher forcing, by name; empty where there are none."""
    block = result.get("teacher_forced")
    if not block:
        return {}
    losses = {name if name == "loss" else f"{name} loss": value for name, value in block["losses"].items()}
    perplexity = {} if block["perplexity"] is None else {"perplexity": block["perplexity"]}
    return {name: short(value) for name, value in {**losses, **perplexity}.items()}


def provenance(
    run: Path, result: Mapping[str, Any], *, manifest: Mapping[str, Any], history: list[dict[str, Any]]
) -> dict[str, Facts]:
    """Return the recorded facts under "model", "training" and "data"; of external predictions, only the last.

    `manifest` is that of the prepared data, `history` the run's epochs. Facts that a run does not record are left out.
    """
    config, facts = _read(run / "config.json"), _read(run / "run.json")
    found = {
        "model": _model(config, facts, checkpoint=_checkpoint(run, result), decoding=result.get("decoding") or {}),
        "training": _training(config, facts, history) if facts else {},
        "data": _data(result, manifest),
    }
    return {name: {key: value for key, value in of.items() if value} for name, of in found.items() if any(of.values())}


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_json(path, what="a file of a run")
    except VsrError:
        return {}  # external predictions have no run


def _model(
    config: Mapping[str, Any], facts: Mapping[str, Any], *, checkpoint: str, decoding: Mapping[str, Any]
) -> Facts:
    found = {
        KIND_OF[section].title: _component(section, config[section])
        for section in MODEL_COMPONENTS
        if isinstance(config.get(section), dict)
    }
    if width := config.get("model", {}).get("width"):
        found["width"] = str(width)
    terms = {name: weight for name, weight in config.get("objective", {}).items() if _is_weight(weight)}
    found["losses"] = ", ".join(f"{name} {weight:g}" for name, weight in terms.items())
    if parameters := facts.get("parameters"):
        found["parameters"] = f"{parameters['trained']:,} trained, {parameters['frozen']:,} frozen"
    found["checkpoint"] = checkpoint
    if decoding:
        options = [f"{key} {_plain(value)}" for key, value in decoding.items() if key != "method" and value]
        found["decoding"] = ", ".join([str(decoding.get("method", "")), *options])
    return found


def _is_weight(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _component(section: str, chosen: Mapping[str, Any]) -> str:
    """Return a component's name with those of its options that are not defaults; with all if these are unknown."""
    name = str(chosen.get("name"))
    options = {key: value for key, value in chosen.items() if key != "name"}
    try:
        defaults = registry().find(section, name).component.options().model_dump(mode="json")
    except (VsrError, ValidationError):
        defaults = {}  # it is not installed here, or has options without a default
    changed = {key: value for key, value in options.items() if key not in defaults or defaults[key] != value}
    listed = ", ".join(f"{key}={_plain(value)}" for key, value in changed.items())
    return f"{name} ({listed})" if listed else name


def _checkpoint(run: Path, result: Mapping[str, Any]) -> str:
    try:
        opened = Run(run)
        return f"{opened.which_checkpoint()}, weights {result.get('checkpoint') or opened.weights_digest()}"
    except VsrError:
        return str(result.get("checkpoint") or "")


def _training(config: Mapping[str, Any], facts: Mapping[str, Any], history: list[dict[str, Any]]) -> Facts:
    options, watched = config.get("training", {}), watched_loss(config)
    done = history[-1].get("epoch", len(history)) if history else 0
    epochs = f"{done} of {options.get('epochs', done)}"
    if best := best_row([row for row in history if "validation" in row], watched):
        loss = "loss" if watched == "loss" else f"{watched} loss"
        epochs += f", best {best['epoch']} by validation {loss} ({loss_text(best['validation'][watched])})"
    steps = [f"{key.replace('_', ' ')} {_plain(options[key])}" for key in STEP_OPTIONS if key in options]
    versions = facts.get("versions", {})
    until = f" to {_minute(facts['ended'])}" if facts.get("ended") else ""
    seconds = sum(row.get("seconds", 0) for row in history)
    return {
        "preset": str(config.get("preset") or ""),
        "epochs": epochs,
        "steps": ", ".join(steps),
        "random seed": str(facts.get("seed", options.get("seed", ""))),
        "device": ", ".join(str(facts[key]) for key in ("device", "precision") if facts.get(key)),
        "date": f"{_minute(facts['started'])}{until}" if facts.get("started") else "",
        "time": clock(seconds) if seconds else "",
        "command": shlex.join(["vsr", *map(str, facts.get("argv", [])[1:])]) if facts.get("argv") else "",
        "versions": ", ".join(f"{name} {versions[name]}" for name in SHOWN_VERSIONS if name in versions),
    }


def _data(result: Mapping[str, Any], manifest: Mapping[str, Any]) -> Facts:
    counts, options = manifest.get("counts", {}), manifest.get("data", {})
    size, split = options.get("image_size"), str(options.get("split", ""))
    windows = f"{options.get('window', '')} windows, images {size}x{size} ({options.get('resize', '')})"
    return {
        "dataset": str(manifest.get("dataset", {}).get("name", "")),
        "prepared in": str(result.get("data", "")),
        "stories": _by_split(counts.get("stories_kept", {})),
        "windows": _by_split(counts.get("windows_kept", {})),
        "prepared as": windows if size else "",
        "splits": "the source's own where it has some, else by group" if split == "auto" else split,
        "fingerprint": str(manifest.get("fingerprint", ""))[:16],
    }


def _by_split(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {split}" for split, count in counts.items())


def _minute(time: object) -> str:
    return str(time)[:16].replace("T", " ")


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else to_json(value)
