"""Strict JSON: Python's json module also writes and reads NaN and Infinity, which other readers refuse.

All JSON of the package goes through these functions (a test checks it). Files that the package reads again contain a
checksum of their content, so that a changed digit or letter is detected.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

import xxhash

SEAL = "checksum"
"""The key of the checksum of an object."""


def to_json(value: Any, *, indent: int | None = None, sort_keys: bool = False, ascii_only: bool = False) -> str:
    """Write a value as JSON that UTF-8 can encode, or ASCII. Raises ValueError if a number in it is not finite."""
    text = json.dumps(value, indent=indent, sort_keys=sort_keys, ensure_ascii=ascii_only, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, such as in the name of a file that is not UTF-8
        text = json.dumps(value, indent=indent, sort_keys=sort_keys, allow_nan=False)
    return text


def from_json(text: str | bytes) -> Any:
    """Read JSON. Raises ValueError if it is not JSON, holds NaN or Infinity, or is nested too deeply to be read."""
    try:
        return _DECODER.decode(text if isinstance(text, str) else text.decode())
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def undefined_as_null(value: Any) -> Any:
    """Return a value of JSON with None for each number that is not finite, such as the score of an empty split."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: undefined_as_null(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [undefined_as_null(item) for item in value]
    return value


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object of JSON with a checksum of its content, independent of formatting. Raises ValueError."""
    plain = from_json(to_json({key: item for key, item in value.items() if key != SEAL}))
    return {**plain, SEAL: _checksum(plain)}


def unsealed(value: Any) -> dict[str, Any]:
    """Return a sealed object without its checksum. Raises ValueError if it is no object or its checksum differs."""
    if not isinstance(value, dict):
        raise ValueError("it holds no JSON object")
    plain = dict(value)
    seal = plain.pop(SEAL, None)
    if seal is None or seal != _checksum(plain):
        raise ValueError(
            "its content does not fit its checksum"
            if SEAL in value
            else "it has no checksum: another version of vsr wrote it, or it is damaged"
        )
    return plain


def _checksum(value: Mapping[str, Any]) -> str:
    text = _CANONICAL.encode(value)
    try:
        content = text.encode()
    except UnicodeEncodeError:  # as in `to_json`
        content = to_json(value, sort_keys=True).encode()
    return f"xxh3-128:{xxhash.xxh3_128_hexdigest(content)}"


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


# Made once: a list of 5,000 runs reads 35,000 objects.
_DECODER = json.JSONDecoder(parse_constant=_refuse)
_CANONICAL = json.JSONEncoder(sort_keys=True, ensure_ascii=False, allow_nan=False)
