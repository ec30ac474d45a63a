"""Checks of the outputs of a model's parts, which name the part before torch fails in another one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..errors import PluginError

WRONG = {torch.float64, torch.complex64, torch.complex128, torch.bool}
"""Types that no part may return: torch would fail in the part that reads them."""
REMEDY = "try it by itself with 'vsr plugins check', and report it to its authors"


def expect_shape(who: str, what: str, given: Any, wanted: tuple[int | None, ...]) -> None:
    """Raise PluginError, naming the part, if its output is not a tensor of the given shape (None: any length)."""
    if isinstance(given, Tensor) and given.dim() == len(wanted):
        fits = all(length in (None, own) for length, own in zip(wanted, given.shape, strict=True))
        if fits and given.dtype not in WRONG:
            return
        if fits:
            raise PluginError(f"{who}: gives {what} of {given.dtype}; {REMEDY}")
    shown = str(tuple("any" if length is None else length for length in wanted)).replace("'", "")
    raise PluginError(f"{who}: gives {what} in the wrong shape ({_form(given)}, not {shown}); {REMEDY}")


def expect_pair(who: str, what: str, given: Any) -> tuple[Any, Any]:
    """Return the two items of a pair. Raises PluginError, naming the part, if it is not one."""
    if isinstance(given, tuple | list) and len(given) == 2:
        return given[0], given[1]
    raise PluginError(f"{who}: gives {_form(given)}, not {what}; {REMEDY}")


def expect_texts(who: str, given: Any, count: int) -> list[str]:
    """Return a list of `count` texts. Raises PluginError, naming the part, if it is not one."""
    if isinstance(given, list | tuple) and len(given) == count and all(isinstance(text, str) for text in given):
        return list(given)
    raise PluginError(f"{who}: gives no list of {count} texts ({_form(given)}); {REMEDY}")


def _form(given: Any) -> str:
    if isinstance(given, Tensor):
        return str(tuple(given.shape))
    return f"{type(given).__name__} of {len(given)}" if isinstance(given, list | tuple) else f"a {type(given).__name__}"
