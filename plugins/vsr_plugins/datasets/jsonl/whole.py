"""Reader of JSON files that do not have one story per line: an array of stories, or stories over several lines."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from vsr_cli.api import VsrError, encoding_of, open_bytes, shown

FIRST = 16 * 2**20
"""Bytes that are looked at to see whether the first line is a story."""
REMEDY = "write one story a line, in UTF-8"


def entries_of(path: Path, *, most: int) -> list[Any] | None:
    """Return the stories of a file that is an array, an object with "stories", or objects over several lines.

    None where lines are to be read one by one. Raises VsrError if such a file is larger than `most` bytes, or is in
    another encoding than UTF-8 and holds something else than stories.
    """
    with open_bytes(path) as file:
        start = file.read(4)
        encoding = encoding_of(start)
        first = (start + file.readline(FIRST)).decode(encoding, errors="replace").lstrip()
        if encoding.startswith("utf-8") and not _goes_on(first):
            return None
    with open_bytes(path) as file:
        raw = file.read(most + 1)
    if len(raw) > most:
        if first.startswith("[") or not encoding.startswith("utf-8"):
            raise VsrError(f"{shown(str(path))}: is over {most // 2**20} MiB as one value of JSON; {REMEDY}")
        return None
    try:
        entries = _entries(raw.decode(encoding))
    except (ValueError, RecursionError) as error:
        if not encoding.startswith("utf-8"):
            raise VsrError(f"{shown(str(path))}: is in {encoding.upper()} and no JSON ({error}); {REMEDY}") from error
        return None
    return entries if all(isinstance(entry, dict) for entry in entries) else None


def _goes_on(first: str) -> bool:
    """Return whether the first line begins what another line ends, or is an array."""
    if first.startswith("["):
        return True
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        return True
    return False


def _entries(text: str) -> list[Any]:
    """Return the values of a text, one after the other; those within, where it is one array or holds "stories"."""
    decoder = json.JSONDecoder()
    values, at = [], _skip(text, 0)
    while at < len(text):
        value, at = decoder.raw_decode(text, at)
        values.append(value)
        at = _skip(text, at)
    if len(values) == 1 and isinstance(values[0], list):
        return values[0]
    if len(values) == 1 and isinstance(values[0], dict) and isinstance(values[0].get("stories"), list):
        return list(values[0]["stories"])
    return values


def _skip(text: str, at: int) -> int:
    """Return where the next character is that is no whitespace."""
    found = re.compile(r"\s*").match(text, at)
    assert found
    return found.end()
