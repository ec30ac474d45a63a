"""Preparing a collection to score a run on: its stories are read as those that the run was trained on."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import VsrError
from .settings import flag_layers, typed_options

if TYPE_CHECKING:
    from ..config.experiment import PrepareConfig
    from ..data.prepared import Prepared
    from ..model.story_model import StoryModel
    from ..plugin.registry import Registry
    from ..runs.run import Run

ENCODERS = ("visual", "text", "model")
DATA = ("image_size", "resize", "context_frames", "window", "short_stories", "markup")
"""The options of data that are the run's. All others but the limit decide splits, and here all stories are in one."""
FREE = ("limit", "short_stories")
"""Of data, what the command may choose nevertheless."""
FEATURES = ("precision", "compute")
"""Of features, what is the run's: it would not find those of another precision."""


def config_of_run(
    registry: Registry, run: Run, *, dataset: str, flags: Mapping[str, Any], assignments: Sequence[str]
) -> PrepareConfig:
    """Resolve a prepare command with the encoders and the data options of a run, and all stories in the test split."""
    from ..config.experiment import resolve_prepare
    from ..config.resolve import Layer, parse_set

    record = run.config()
    of_run = {section: record[section] for section in (*ENCODERS, "features")}
    of_run["data"] = {name: record["data"][name] for name in DATA} | {"split": "test"}
    layers = [Layer(str(run.folder / "config.json"), of_run), *flag_layers({"dataset.name": dataset, **flags})]
    return resolve_prepare(registry, preset=record["preset"], layers=[*layers, *parse_set(assignments)])


def refuse_options_of_run(run: Path, flags: Mapping[str, Any], others: Mapping[str, Any], typed: Sequence[str]) -> None:
    """Raise VsrError with a line for each option that would read the stories in another way than the run's were."""
    theirs = {path: value for path, value in flags.items() if _is_of_run(*path.split("."))}
    assignments = [
        text for text in typed if _is_of_run(*text.partition("=")[0].strip().replace("-", "_").partition(".")[::2])
    ]
    if words := typed_options(theirs, others, assignments):
        why = f"with --run {run}, stories are read as the run's were, all into the test split"
        raise VsrError(*(f"{each}: {why}; leave this out" for each in words))


def _is_of_run(section: str, key: str) -> bool:
    if section == "features":
        return key in FEATURES
    return section in ENCODERS or (section == "data" and key not in FREE)


def folder_for_run(run: Run, out: Path | None, name: Path) -> Path:
    """Return the folder to prepare: `out`, or `name` with the run's name appended, which is no other command's default.

    Raises VsrError if it is the run's training data.
    """
    folder = out or name.with_name(f"{name.name}-{run.folder.resolve().name}")
    if folder.resolve() == Path(run.facts()["data"]).resolve():
        raise VsrError(f"--out {folder}: holds the data that {run.folder} was trained on; name another")
    return folder


def load_run(run: Run, registry: Registry) -> StoryModel:
    """Load a run's model, whose encoders compute the features."""
    from ..model.weights import load_model

    return load_model(run, registry)


def next_command(prepared: Prepared, run: Path | None) -> str:
    """Return the command to use prepared data with: where it has no training window, to evaluate a run on it."""
    windows: Mapping[str, int] = prepared.manifest["counts"]["windows_kept"]
    if windows["train"] or not any(windows.values()):
        return f"vsr train --data {prepared.folder}"
    words = ["vsr", "evaluate", "--run", str(run or "RUN"), "--data", str(prepared.folder)]
    return shlex.join([*words, *([] if windows["test"] else ["--split", "validation"])])
