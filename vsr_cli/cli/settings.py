"""From flags to configuration layers, shared by the commands that build something."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..config.experiment import TrainConfig, resolve_train
from ..config.resolve import Layer, parse_set, preset_layer, preset_of_file, read_config_file
from ..console import warn
from ..plugin.discovery import registry as discover_once
from ..plugin.registry import Registry

EMBEDDED = "storyworld"
"""The dataset that needs no files: what is prepared where nothing is named."""
PRESET_OF_DATASET = {EMBEDDED: ("tiny", "embedded stories"), "story-reasoning": ("reference", "StoryReasoning")}
OWN_STORIES = ("laptop", "stories of your own")
"""The preset of any other dataset, and for what."""


def default_preset(dataset: str) -> tuple[str, str]:
    """Return the preset that a dataset is prepared with unless one is named, and what it is the default for."""
    return PRESET_OF_DATASET.get(dataset, OWN_STORIES)


def registry() -> Registry:
    """Discover the plugins, with one warning line for each broken one."""
    found = discover_once()
    for broken in found.broken:
        warn(f"plugin {broken.plugin} ({broken.distribution}) is left out: {broken.reason}")
    return found


def flag_layers(flags: Mapping[str, Any]) -> list[Layer]:
    """Make a layer of each flag that was given: {"temporal.name": "gru"} comes from --temporal gru."""
    layers = []
    for place, value in flags.items():
        if value is not None:
            section, key = place.split(".")
            name = section if key in ("name", "method") else key
            given = " ".join(value) if isinstance(value, list) else "" if value is True else value
            layers.append(Layer(f"--{name.replace('_', '-')} {given}".rstrip(), {section: {key: value}}))
    return layers


def train_config(
    found: Registry,
    *,
    manifest: Mapping[str, Any] | None,
    preset: str | None,
    config: Path | None,
    flags: Mapping[str, Any],
    assignments: Sequence[str],
) -> TrainConfig:
    """Resolve a train command.

    From the lowest layer up: the preset (given, or the configuration file's, or the one that the data was
    prepared with; without data, that of the embedded stories, which are then prepared), the encoders that the data was
    prepared with unless a preset was given, the file, the flags, `--set`.
    """
    file_layers = [read_config_file(config)] if config else []
    chosen = preset or (preset_of_file(config) if config else None)
    data_layers: list[Layer] = []
    if manifest is not None and chosen is None:
        prepared_with = {section: manifest[section] for section in ("visual", "text", "features")}
        data_layers = [Layer("the prepared data", prepared_with)]
        chosen = manifest["preset"]
    chosen = chosen or default_preset(EMBEDDED)[0]
    layers = [preset_layer(chosen), *data_layers, *file_layers, *flag_layers(flags), *parse_set(assignments)]
    return resolve_train(found, preset=chosen, layers=layers)


def comma_separated(values: Iterable[str]) -> list[str]:
    """Take "a,b" and "a" "b" alike, in order and each once."""
    names = [name.strip() for value in values for name in value.split(",") if name.strip()]
    return list(dict.fromkeys(names))
