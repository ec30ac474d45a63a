"""Models of other people: what they are not allowed to make the libraries do. Imports none until it is used."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import VsrError

ADAPTER = "adapter_config.json"
SETTINGS = (
    "config.json",
    "tokenizer_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "image_processor_config.json",
    ADAPTER,
)
"""The files by which a model tells the libraries how it is to be loaded; the first is there where there is any."""
KERNELS = ("attn_implementation", "experts_implementation")
"""Settings whose value may be the hub's address of compiled code, which is then fetched and run."""


def refuse_foreign_code(place: str | Path) -> None:
    """Raise VsrError, naming the file, if the folder or hub id of a model asks for more than to be read.

    That is Python code of its own (`auto_map`), compiled code of the hub (kernels), another model that is fetched
    (`base_model_name_or_path` of an adapter, a pretrained backbone), or packages that unpack its weights
    (`quantization_config`). The libraries are given `trust_remote_code=False` all the same.
    """
    for path in _files(str(place)):
        if path.name == ADAPTER:
            raise VsrError(f"{path}: an adapter needs another model, which vsr does not fetch; merge it into its model")
        try:
            settings = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue  # the library that reads it says what is wrong
        for problem in _problems(settings):
            raise VsrError(f"{path}: {problem}; take a model that the library itself knows how to load")


def _files(place: str) -> Iterator[Path]:
    if Path(place).exists():
        yield from (Path(place, name) for name in SETTINGS if Path(place, name).is_file())
        return
    from transformers.utils.hub import cached_file

    for name in SETTINGS:
        try:
            found = cached_file(
                place,
                name,
                _raise_exceptions_for_gated_repo=False,
                _raise_exceptions_for_missing_entries=False,
                _raise_exceptions_for_connection_errors=False,
            )
        except (OSError, ValueError):  # no such repository, or none that can be reached: the library says so
            return
        if found is not None:
            yield Path(found)
        elif name == SETTINGS[0]:
            return


def _problems(value: Any) -> Iterator[str]:
    """Yield what settings ask for that is refused, however deep it stands."""
    if isinstance(value, list):
        for item in value:
            yield from _problems(item)
    if not isinstance(value, Mapping):
        return
    for key, item in value.items():
        if key == "auto_map" and item:
            yield "names Python code of its own (auto_map), and vsr never runs code from a model's folder"
        elif key == "quantization_config" and item:
            yield "its weights are quantized (quantization_config), which takes packages that are not loaded for it"
        elif key == "use_pretrained_backbone" and item:
            yield "takes the weights of another model (use_pretrained_backbone), which vsr does not fetch"
        elif key.strip("_").removesuffix("_internal") in KERNELS and any("/" in name for name in _texts(item)):
            yield f"names compiled code of the hub ({key}), and vsr never runs code that a model brings"
        else:
            yield from _problems(item)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
