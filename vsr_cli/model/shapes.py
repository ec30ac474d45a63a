"""Checks of the outputs of components, which name the faulty one before torch fails in another."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..errors import PluginError

WRONG = {torch.float64, torch.complex64, torch.complex128, torch.bool}
"""Types that no component may return, as torch would fail in the one that reads them."""
REMEDY = "try it by itself with 'vsr plugins check', and report it to its authors"


def expect_shape(who: str, what: str, output: Any, wanted: tuple[int | None, ...]) -> None:
    """Raise PluginError, naming the component, if its output is not a tensor of this shape (None: any length)."""
    if isinstance(output, Tensor) and output.dim() == len(wanted):
        fits = all(length in (None, own) for length, own in zip(wanted, output.shape, strict=True))
        if fits and output.dtype not in WRONG:
            return
        if fits:
            raise PluginError(f"{who}: returns {what} of {output.dtype}; {REMEDY}")
    shown = str(tuple("any" if length is None else length for length in wanted)).replace("'", "")
    raise PluginError(f"{who}: returns {what} in the wrong shape ({_describe(output)}, not {shown}); {REMEDY}")


def expect_pair(who: str, what: str, output: Any) -> tuple[Any, Any]:
    """Return the two items of a pair. Raises PluginError, naming the component, if it is not one."""
    if isinstance(output, tuple | list) and len(output) == 2:
        return output[0], output[1]
    raise PluginError(f"{who}: returns {_describe(output)}, not {what}; {REMEDY}")


def expect_texts(who: str, output: Any, count: int) -> list[str]:
    """Return a list of `count` texts. Raises PluginError, naming the component, if it is not one."""
    if isinstance(output, list | tuple) and len(output) == count and all(isinstance(text, str) for text in output):
        return list(output)
    raise PluginError(f"{who}: does not return a list of {count} texts ({_describe(output)}); {REMEDY}")


def _describe(output: Any) -> str:
    if isinstance(output, Tensor):
        return str(tuple(output.shape))
    return (
        f"{type(output).__name__} of {len(output)}"
        if isinstance(output, list | tuple)
        else f"a {type(output).__name__}"
    )
