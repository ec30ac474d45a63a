"""Large arrays of one process, in temporary files without a name, whose pages the system can write out."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..api import TokenBatch
from ..system_errors import SCRATCH

Scalar = TypeVar("Scalar", bound=np.generic)

AT_ONCE = 4096
"""Texts tokenized, or rows copied, at a time: so many are held in memory."""
SMALL = 4 * 2**20
"""Bytes of the largest array that is held in memory."""


def scratch_array(shape: tuple[int, ...], dtype: type[Scalar]) -> NDArray[Scalar]:
    """Return an array of zeros in a temporary file (TMPDIR), which is gone with the array. Raises OSError."""
    with tempfile.TemporaryFile(prefix=f".{SCRATCH}.") as file:
        try:
            # Without allocated disk space, a write through the map would end the process when the disk is full.
            os.posix_fallocate(file.fileno(), 0, max(1, math.prod(shape) * np.dtype(dtype).itemsize))
        except OSError as error:
            error.filename = tempfile.gettempdir()
            raise
        # The map outlives the file's name. As a plain array: what is computed of it is in memory.
        return np.asarray(np.memmap(file, dtype=dtype, mode="r+", shape=shape))


def roomy_array(shape: tuple[int, ...], dtype: type[Scalar], *, small: int | None = None) -> NDArray[Scalar]:
    """Return an array of zeros, in memory if it has at most `small` bytes (None: `SMALL`)."""
    if math.prod(shape) * np.dtype(dtype).itemsize <= (SMALL if small is None else small):
        return np.zeros(shape, dtype)
    return scratch_array(shape, dtype)


def taken(array: NDArray[Scalar], rows: NDArray[np.int64]) -> NDArray[Scalar]:
    """Return `array[rows]` for rows of any shape, which is not held in memory unless it is small."""
    flat = rows.reshape(-1)
    found = roomy_array((len(flat), *array.shape[1:]), array.dtype.type)
    for start in range(0, len(flat), AT_ONCE):
        found[start : start + AT_ONCE] = array[flat[start : start + AT_ONCE]]
    return found.reshape(*rows.shape, *array.shape[1:])


def tokenized(tokenize: Callable[[Sequence[str]], TokenBatch], texts: Sequence[str]) -> TokenBatch:
    """Return the tokens of texts, all (N, L) of one length; those of many texts are not held in memory."""
    if len(texts) <= AT_ONCE:
        return tokenize([texts[row] for row in range(len(texts))])
    shape = (len(texts), tokenize([texts[0]]).ids.shape[1])
    ids, mask = scratch_array(shape, np.int64), scratch_array(shape, np.bool_)
    cut: list[NDArray[np.bool_]] = []
    for start in range(0, len(texts), AT_ONCE):
        part = tokenize([texts[row] for row in range(start, min(start + AT_ONCE, len(texts)))])
        if part.ids.shape[1] != shape[1]:  # of a component that pads to the longest text
            return tokenize([texts[row] for row in range(len(texts))])
        ids[start : start + AT_ONCE], mask[start : start + AT_ONCE] = part.ids, part.mask
        cut += [] if part.cut is None else [part.cut]
    return TokenBatch(ids=ids, mask=mask, cut=np.concatenate(cut) if cut else None)
