"""Settings as Python programs give them: keyword arguments and a mapping of "section.key" to a value."""

from __future__ import annotations

import operator
import os
import re
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..config.resolve import Layer
from ..errors import VsrError
from ..files.home import expand_home
from ..plugin.faults import naming_faults
from ..system_errors import describe_os_error

ADDRESS = re.compile(r"[A-Za-z][\w+.-]*://|data:[\w/+.-]*[;,]")
"""The start of a URL."""
_lock = threading.Lock()
_programs_dtype: list[Any] = []
"""The program's default dtype, once for each call within which it is hidden: all threads share torch's."""


def layers_of(arguments: Mapping[str, tuple[str, Any]], settings: Mapping[str, Any] | None) -> list[Layer]:
    """Return a layer for each setting that was given, which names it in messages as it was given.

    `arguments` are those of the function: {"epochs": ("training.epochs", 3)}; None stands for no value. `settings` is
    {"temporal.layers": 2}. Raises VsrError if that is no mapping of names to values.
    """
    if not isinstance(settings or {}, Mapping):
        raise VsrError(f'settings: not a mapping (got {type(settings).__name__}); pass {{"section.key": value}}')
    given = [(name, path, value) for name, (path, value) in arguments.items() if value is not None]
    given += [(path, path, value) for path, value in (settings or {}).items()]
    # Arguments have no order: what chooses a component or a decoding method comes first, its options after it.
    given.sort(key=lambda each: not str(each[1]).endswith((".name", "decoding.method")))
    return [_layer(name, path, value) for name, path, value in given]


def _layer(name: str, path: str, value: Any) -> Layer:
    where = f"{name}={value!r}"
    section, dot, key = path.rpartition(".") if isinstance(path, str) else ("", "", "")
    if not dot or not section or not key:
        return Layer(where, {}, f"settings: {path!r} is not of the form section.key; for example 'training.epochs'")
    plain = os.fspath(value) if isinstance(value, os.PathLike) else value
    return Layer(where, {section: {key: plain}}, for_command=True)


def path_of(value: str | os.PathLike[str], where: str = "path") -> Path:
    """Return a path, with "~" as the home folder. `where` names it in messages.

    Raises VsrError if it is of another type, empty, an address of the web, or no name that a file can have.
    """
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(text, str):
        raise VsrError(f"{where}: not a path (got {type(value).__name__}); pass a string or a pathlib.Path")
    if not text:
        raise VsrError(f"{where}: an empty path; name a file or folder")
    if ADDRESS.match(text):
        raise VsrError(f"{where}: addresses are not read (got {text[:80]}); download it, and pass its path")
    try:
        if b"\0" in os.fsencode(text):
            raise ValueError
    except ValueError as error:
        raise VsrError(f"{where}: not a name that a file can have (got {text[:80]!a}); correct it") from error
    return Path(expand_home(text))


def whole(value: Any) -> Any:
    """Return a whole number of any type, such as numpy's, as an int; any other value as it is, for checks to refuse."""
    try:
        return value if isinstance(value, bool) else operator.index(value)
    except TypeError:  # also arrays, of which those of one number alone are whole numbers
        return value


def pick_list(pick: int | Sequence[int]) -> list[int]:
    """Return the numbers of `pick`. Raises VsrError if it is of another type."""
    one = whole(pick)
    if isinstance(one, int):
        return [one]
    if isinstance(one, str | bytes) or not hasattr(one, "__len__"):
        raise VsrError(f"pick: not a number or a list of them (got {pick!r}); pass 1, or one number per step")
    return [whole(each) for each in one]


@contextmanager
def reporting_errors() -> Iterator[None]:
    """Work as the command line does: with torch's own defaults, and its errors in one line.

    Raises VsrError, or PluginError for a plugin's fault.
    """
    try:
        with naming_faults(), _own_defaults():
            yield
    except OSError as error:
        raise VsrError(describe_os_error(error)) from error


@contextmanager
def _own_defaults() -> Iterator[None]:
    """Hide a default dtype or device that the program has set: weights are of float32, and data start on the CPU."""
    torch = sys.modules.get("torch")
    if torch is None:  # so nothing is set
        yield
        return
    with _lock:
        _programs_dtype.append(_programs_dtype[-1] if _programs_dtype else torch.get_default_dtype())
        torch.set_default_dtype(torch.float32)
    device = torch.get_default_device()
    if device.type != "cpu":  # otherwise without the device mode of torch, which costs time
        torch.set_default_device(None)
    try:
        yield
    finally:
        with _lock:
            dtype = _programs_dtype.pop()
            if not _programs_dtype:
                torch.set_default_dtype(dtype)
        if device.type != "cpu":
            torch.set_default_device(device)
