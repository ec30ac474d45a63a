"""What an evaluation's scores belong to: the model, its training and its data, in words for a page and for Markdown."""

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
from ..runs.history import best_row, clock, number, watched_loss
from ..runs.run import Run

Facts = dict[str, str]
SHOWN_VERSIONS = ("vsr", "python", "torch", "transformers")


def provenance(
    run: Path, result: Mapping[str, Any], *, manifest: Mapping[str, Any], history: list[dict[str, Any]]
) -> dict[str, Facts]:
    """Return, under "model", "training" and "data", what is known of each by name; of other systems' predictions, less.

    `manifest` is that of the prepared data, `history` the run's epochs. What a run does not record is left out.
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
        value = read_json(path, what="a file of a run")
    except VsrError:
        return {}  # predictions of another system have no run
    return value if isinstance(value, dict) else {}


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
    terms = {name: weight for name, weight in config.get("objective", {}).items() if _weighs(weight)}
    found["losses"] = ", ".join(f"{name} {weight:g}" for name, weight in terms.items())
    if parameters := facts.get("parameters"):
        found["parameters"] = f"{parameters['trained']:,} trained, {parameters['frozen']:,} frozen"
    found["checkpoint"] = checkpoint
    if decoding:
        further = [f"{key} {_plain(value)}" for key, value in decoding.items() if key != "method" and value]
        found["decoding"] = ", ".join([str(decoding.get("method", "")), *further])
    return found


def _weighs(weight: Any) -> bool:
    return isinstance(weight, int | float) and not isinstance(weight, bool) and weight > 0


def _component(section: str, chosen: Mapping[str, Any]) -> str:
    """Write a component's name, and those of its options that are not its defaults; all where these are unknown."""
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
        epochs += f", best {best['epoch']} by validation {loss} ({number(best['validation'][watched])})"
    rates = [f"{key.replace('_', ' ')} {_plain(options[key])}" for key in STEPS if key in options]
    versions = facts.get("versions", {})
    where = ", ".join(str(facts[key]) for key in ("device", "precision") if facts.get(key))
    until = f" to {_minute(facts['ended'])}" if facts.get("ended") else ""
    seconds = sum(row.get("seconds", 0) for row in history)
    return {
        "preset": str(config.get("preset") or ""),
        "epochs": epochs,
        "steps": ", ".join(rates),
        "seed": str(facts.get("seed", options.get("seed", ""))),
        "device": where,
        "date": f"{_minute(facts['started'])}{until}" if facts.get("started") else "",
        "time": clock(seconds) if seconds else "",
        "command": shlex.join(["vsr", *map(str, facts.get("argv", [])[1:])]) if facts.get("argv") else "",
        "versions": ", ".join(f"{name} {versions[name]}" for name in SHOWN_VERSIONS if name in versions),
    }


STEPS = ("batch_size", "gradient_accumulation_steps", "learning_rate", "schedule", "warmup_ratio")
"""The options of training that say how a step is taken."""


def _data(result: Mapping[str, Any], manifest: Mapping[str, Any]) -> Facts:
    counts, options = manifest.get("counts", {}), manifest.get("data", {})
    size = options.get("image_size")
    split = {"auto": "the source's own where it has some, else by group"}.get(options.get("split", ""), "")
    return {
        "dataset": str(manifest.get("dataset", {}).get("name", "")),
        "prepared in": str(result.get("data", "")),
        "stories": _by_split(counts.get("stories_kept", {})),
        "windows": _by_split(counts.get("windows_kept", {})),
        "cut": f"{options.get('window', '')} windows, images {size}x{size} ({options.get('resize', '')})"
        if size
        else "",
        "splits": split or str(options.get("split", "")),
        "fingerprint": str(manifest.get("fingerprint", ""))[:16],
    }


def _by_split(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {split}" for split, count in counts.items())


def _minute(time: object) -> str:
    return str(time)[:16].replace("T", " ")


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else to_json(value)
