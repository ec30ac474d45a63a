"""Naming the part that gives the wrong shape, before torch stumbles over it in another part."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..errors import VsrError
from ..plugin.kinds import KIND_OF


def expect_shape(section: str, part: object, what: str, given: Any, wanted: tuple[int, ...]) -> None:
    """Raise VsrError, naming the part of this section, if what it gave is no tensor of the wanted shape."""
    if isinstance(given, Tensor) and given.shape == wanted:
        return
    told = str(tuple(given.shape)) if isinstance(given, Tensor) else f"a {type(given).__name__}"
    kind = type(part)
    raise VsrError(
        f"{KIND_OF[section].title} {kind.__qualname__} of {kind.__module__}: gives {what} in the wrong shape "
        f"({told}, not {wanted}); try it by itself with 'vsr plugins check', and tell its authors"
    )
