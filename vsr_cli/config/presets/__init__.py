"""The presets: complete settings to start from, a TOML file each."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import VsrError, nearest

FOLDER = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class PresetFacts:
    """What a preset says of itself, in a line each."""

    name: str
    summary: str
    download: str
    """The pretrained weights that are fetched the first time, and how large they are."""
    machine: str
    """What it takes to train."""


def preset_names() -> list[str]:
    """Return the names of the presets, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def preset_facts(name: str) -> PresetFacts:
    """Return what a preset says of itself. Raises VsrError if there is none of this name."""
    values = read_preset(name)
    return PresetFacts(name=name, **{key: str(values.get(key, "")) for key in ("summary", "download", "machine")})


def read_preset(name: str) -> dict[str, Any]:
    """Return the content of a preset's file. Raises VsrError if there is none of this name."""
    if name not in preset_names():
        raise VsrError(f"preset '{name}': does not exist; {nearest(name, preset_names())}")
    return tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
