"""Settings as Python programs give them: keyword arguments and a mapping of "section.key" to a value."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..config.resolve import Layer
from ..files.home import expand_home


def layers_of(arguments: Mapping[str, tuple[str, Any]], settings: Mapping[str, Any] | None) -> list[Layer]:
    """Return a layer for each setting that was given, which names it in messages as it was given.

    `arguments` are those of the function: {"epochs": ("training.epochs", 3)}; None stands for no value. `settings` is
    {"temporal.layers": 2}.
    """
    given = [(name, path, value) for name, (path, value) in arguments.items() if value is not None]
    given += [(path, path, value) for path, value in (settings or {}).items()]
    return [_layer(name, path, value) for name, path, value in given]


def _layer(name: str, path: str, value: Any) -> Layer:
    where = f"{name}={value!r}"
    section, dot, key = path.rpartition(".")
    if not dot or not section or not key:
        return Layer(where, {}, f"settings: {path!r} is not of the form section.key; for example 'training.epochs'")
    plain = os.fspath(value) if isinstance(value, os.PathLike) else value
    return Layer(where, {section: {key: plain}})


def path_of(value: str | os.PathLike[str]) -> Path:
    """Return a path, with "~" as the home folder."""
    return Path(expand_home(os.fspath(value)))
