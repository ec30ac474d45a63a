"""What the flags of the commands set: from {a section: a name} to the configuration of a train command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..config.experiment import TrainConfig
from ..errors import VsrError
from ..plugin.registry import Registry
from .requirements import collected, provide
from .settings import flag_layers, train_config


def part_flags(**names: str | None) -> dict[str, Any]:
    """Return what --visual NAME and its like set."""
    return {f"{section}.name": name for section, name in names.items()}


def train_flags(
    parts: Mapping[str, str | None],
    *,
    epochs: int | None,
    batch_size: int | None,
    precision: str | None,
    compile_parts: bool,
    track: list[str] | None,
) -> dict[str, Any]:
    """Return what the flags of a train command set; None: not given."""
    training = {
        "training.epochs": epochs,
        "training.batch_size": batch_size,
        "training.precision": precision,
        "training.compile": compile_parts or None,
        "training.track": track or None,
    }
    return {**part_flags(**parts), **training}


def refuse_settings(
    resume: Path, flags: Mapping[str, Any], others: Mapping[str, Any], assignments: Sequence[str]
) -> None:
    """Raise VsrError if settings are given for a run that is resumed: it has its own."""
    given = [layer.where for layer in flag_layers(flags)]
    given += [f"{name} {value}" for name, value in others.items() if value is not None]
    given += [f"--set {text}" for text in assignments]
    if given:
        raise VsrError(
            f"--resume {resume}: the settings are the run's own (given: {', '.join(given)}); "
            "leave them out, only --epochs and --data may be given"
        )


def resolve_train_command(
    found: Registry,
    folder: Path | None,
    *,
    preset: str | None,
    config: Path | None,
    flags: Mapping[str, Any],
    assignments: Sequence[str] | None,
) -> TrainConfig:
    """Resolve a train command on prepared data, or on what will be prepared where there is nothing yet (None).

    Raises VsrError with all mistakes; where the data itself is one, with what else is missing as far as that is known.
    """
    from .train import read_manifest

    asked: dict[str, Any] = {"preset": preset, "config": config, "flags": flags, "assignments": assignments or []}
    try:
        manifest = read_manifest(folder) if folder else None
    except VsrError as error:
        if preset is None and config is None:
            raise  # what else is wrong depends on the data
        settings: list[TrainConfig] = []
        lines = collected(lambda: settings.append(train_config(found, manifest=None, **asked)))
        provide([choice for each in settings for choice in each.parts.items()], mistakes=[*error.lines, *lines])
        raise
    return train_config(found, manifest=manifest, **asked)
