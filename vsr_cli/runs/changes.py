"""The settings of a run that were changed from its preset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from ..config.resolve import preset_layer
from ..config.schema import COMMON
from ..errors import VsrError
from ..plugin.kinds import KIND_OF, MODEL_COMPONENTS
from ..plugin.registry import Registry


@dataclass(frozen=True)
class Change:
    """A setting of a run that differs from its preset."""

    setting: str
    value: Any
    preset: Any
    """The value in the preset, or the component's default; None also if there is neither."""


def changes(registry: Registry, config: Mapping[str, Any]) -> list[Change]:
    """Return the settings of a run that differ from its preset and from the defaults of its components.

    If a component is not installed, its defaults are unknown and all of its options are returned.
    """
    try:
        preset = preset_layer(str(config.get("preset"))).values
    except VsrError:
        preset = {}  # of another version of vsr
    changed = []
    for section in (*MODEL_COMPONENTS, *COMMON):
        chosen = config.get(section)
        if section == "data" or not isinstance(chosen, dict):
            continue
        in_preset = preset.get(section, {})
        name = chosen.get("name")
        if name != in_preset.get("name"):
            changed.append(Change(f"{section}.name", name, in_preset.get("name")))
            in_preset = {}
        before = _defaults(registry, section, name, {key: value for key, value in in_preset.items() if key != "name"})
        changed += [
            Change(f"{section}.{key}", value, before.get(key))
            for key, value in chosen.items()
            if key != "name" and (key not in before or before[key] != value)
        ]
    return changed


def _defaults(registry: Registry, section: str, name: str | None, in_preset: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a section, chosen those in a preset."""
    try:
        options = registry.find(section, str(name)).component.options if section in KIND_OF else COMMON[section]
        return options.model_validate(in_preset).model_dump(mode="json")
    except (VsrError, ValidationError):
        return dict(in_preset)
