"""A nested state, such as an optimizer's, in two files that hold no code: its tensors in one, all else in the other.

JSON has neither tuples nor keys that are numbers. They are written as {"$tuple": [...]} and {"$items": [[key, value],
...]}, and a tensor as {"$tensor": its name in the safetensors file}, so that what is read is what was written.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import safetensors
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..errors import VsrError
from ..files.atomic import read_json, write_json, writing
from ..system_errors import refuse_system_error


def save_nested(folder: Path, name: str, value: Any) -> None:
    """Write NAME.json and NAME.safetensors. `value` is of dicts, lists, tuples, numbers, texts, None and tensors."""
    tensors: dict[str, Tensor] = {}
    tree = _encode(value, tensors)
    path = folder / f"{name}.safetensors"
    with writing(path):
        save_file(tensors, path)
    write_json(folder / f"{name}.json", tree)


def load_nested(folder: Path, name: str) -> Any:
    """Read what `save_nested` wrote, tensors on the CPU. Raises VsrError if a file is not there or not whole."""
    path = folder / f"{name}.safetensors"
    tree = read_json(folder / f"{name}.json", what="the state of a training run")
    try:
        return _decode(tree, load_file(path))
    except (OSError, safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        refuse_system_error(error, path)
        raise VsrError(f"{path}: cannot be read as the state of a training run ({error}); train anew") from error


def _encode(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"$tensor": name}
    if isinstance(value, dict):
        if all(isinstance(key, str) and not key.startswith("$") for key in value):
            return {key: _encode(item, tensors) for key, item in value.items()}
        return {"$items": [[key, _encode(item, tensors)] for key, item in value.items()]}
    if isinstance(value, tuple):
        return {"$tuple": [_encode(item, tensors) for item in value]}
    if isinstance(value, list):
        return [_encode(item, tensors) for item in value]
    assert value is None or isinstance(value, bool | int | float | str), f"cannot be written as JSON: {type(value)}"
    return value


def _decode(tree: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(tree, list):
        return [_decode(item, tensors) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if "$tensor" in tree:
        return tensors[tree["$tensor"]].clone()  # which otherwise is a view of the file, long after it is replaced
    if "$tuple" in tree:
        return tuple(_decode(item, tensors) for item in tree["$tuple"])
    if "$items" in tree:
        return {key: _decode(item, tensors) for key, item in tree["$items"]}
    return {key: _decode(item, tensors) for key, item in tree.items()}
