"""Refuse models that would run their own code, download other models or lack weights. Imports no library at import."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import VsrError
from .hub import cache_if_unreachable

if TYPE_CHECKING:
    from torch import nn

ADAPTER = "adapter_config.json"
SETTINGS = (
    "config.json",
    "tokenizer_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "video_preprocessor_config.json",
    "image_processor_config.json",
    ADAPTER,
)
"""Configuration files that the libraries read; every model has the first."""
OTHER_SETTINGS = (
    "generation_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "model.safetensors.index.json",
)
"""Further files of a model folder that are JSON objects."""
KERNELS = ("attn_implementation", "experts_implementation")
"""Settings whose value may be a Hub id of compiled code, which would be downloaded and run."""


def refuse_foreign_code(model: str | Path) -> None:
    """Raise VsrError, naming the file, if a model needs code, other models or packages to load.

    That is Python code of its own (`auto_map`), compiled code from the Hub (kernels), another model (an adapter's
    `base_model_name_or_path`, a pretrained backbone), or packages that unpack its weights (`quantization_config`).
    The libraries get `trust_remote_code=False` as well.
    """
    for path in _files(str(model)):
        if path.name == ADAPTER:
            raise VsrError(f"{path}: an adapter needs another model; merge it into that model")
        try:
            settings = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue  # the library reports it
        for problem in _problems(settings):
            raise VsrError(f"{path}: {problem}; choose a model that the library loads by itself")


def refuse_missing_tensors(who: str, model: str, missing: Iterable[str], *, option: str) -> None:
    """Raise VsrError if pretrained weights lack tensors of the network, whose values would then be random.

    `who` is the component as messages name it, `option` the setting that names another model.
    """
    if names := sorted(missing):
        raise VsrError(
            f"{who}: {model} lacks {len(names)} tensors, such as {names[0]}; "
            f"choose a complete model by --set {option}=FOLDER"
        )


def refuse_weights(who: str, model: str, network: nn.Module, unread: Iterable[str], *, option: str) -> None:
    """Raise VsrError if loaded weights are not finite, or those of more layers than the network has.

    `unread` are the names of tensors that the network has no place for. Libraries ignore them, so a configuration with
    fewer layers than the weights would silently be another model.
    """
    from .finite import first_not_finite

    remedy = f"choose another model by --set {option}=FOLDER"
    known = {_without_numbers(name) for name in network.state_dict()}
    if layers := sorted(name for name in unread if _without_numbers(name) in known):
        raise VsrError(
            f"{who}: {model} has weights of more layers than its config.json says, such as {layers[0]}; {remedy}"
        )
    if name := first_not_finite(network.named_parameters()):
        raise VsrError(f"{who}: {model}: its weight {name} holds numbers that are not finite; {remedy}")


def refuse_broken_settings(who: str, folder: str, *, option: str) -> None:
    """Raise VsrError, naming the file, if a file of a model's folder that should be a JSON object is none."""
    for path in (Path(folder).expanduser() / name for name in (*SETTINGS, *OTHER_SETTINGS)):
        if not path.is_file():
            continue
        try:
            broken = not isinstance(json.loads(path.read_text(encoding="utf-8")), dict)
        except (OSError, ValueError, RecursionError):
            broken = True
        if broken:
            raise VsrError(
                f"{who}: {path} is no JSON object; copy it again, or choose another model by --set {option}=FOLDER"
            )


def _without_numbers(name: str) -> str:
    return re.sub(r"(?<=\.)\d+(?=\.)", "#", name)


def refuse_large_tokenizer(who: str, model: str, *, largest: int, embeddings: int, option: str) -> None:
    """Raise VsrError if a model has no embedding for the largest token that it may read."""
    if largest >= embeddings:
        raise VsrError(
            f"{who}: the tokenizer of {model} has tokens up to {largest}, and the model has {embeddings} embeddings; "
            f"choose a folder whose tokenizer belongs to its model by --set {option}=FOLDER"
        )


def _files(model: str) -> Iterator[Path]:
    if Path(model).exists():
        yield from (Path(model, name) for name in SETTINGS if Path(model, name).is_file())
        return
    from transformers.utils.hub import cached_file

    with cache_if_unreachable(model):
        for name in SETTINGS:
            try:
                found = cached_file(
                    model,
                    name,
                    _raise_exceptions_for_gated_repo=False,
                    _raise_exceptions_for_missing_entries=False,
                    _raise_exceptions_for_connection_errors=False,
                )
            except (OSError, ValueError):  # the library reports it
                return
            if found is not None:
                yield Path(found)
            elif name == SETTINGS[0]:
                return


def _problems(value: Any) -> Iterator[str]:
    """Yield the refused settings at any depth."""
    if isinstance(value, list):
        for item in value:
            yield from _problems(item)
    if not isinstance(value, Mapping):
        return
    for key, item in value.items():
        if key == "auto_map" and item:
            yield "needs Python code of its own (auto_map), which vsr never runs"
        elif key == "quantization_config" and item:
            yield "its weights are quantized (quantization_config), which needs additional packages"
        elif key == "use_pretrained_backbone" and item:
            yield "needs the weights of another model (use_pretrained_backbone), which vsr does not download"
        elif key.strip("_").removesuffix("_internal") in KERNELS and any("/" in name for name in _texts(item)):
            yield f"needs compiled code from the Hub ({key}), which vsr never runs"
        else:
            yield from _problems(item)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
