"""Pairs of hashes that differ in few bits: all of them, in order, however the work is cut into blocks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsr_cli.data import duplicates
from vsr_cli.data.duplicates import near_duplicates

# Few bits, so that there are pairs at every distance.
hashes = st.lists(st.sampled_from([0, 1, 3, 7, 15, 31, 1 << 63, (1 << 64) - 1, (1 << 64) - 2]), max_size=9)


def by_hand(left: list[int], right: list[int], distance: int) -> list[list[int]]:
    return [[i, j] for i, a in enumerate(left) for j, b in enumerate(right) if (a ^ b).bit_count() <= distance]


@pytest.mark.parametrize("cells", [1, 3, 1 << 18])
@given(left=hashes, right=hashes, distance=st.sampled_from([0, 1, 2, 5, 63, 64]))
def test_the_pairs_are_those_found_by_hand(cells, left, right, distance):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "CELLS", cells)
        pairs = near_duplicates(np.array(left, np.uint64), np.array(right, np.uint64), distance=distance)
    assert (pairs.dtype, pairs.shape[1]) == (np.int64, 2)
    assert sorted(pairs.tolist()) == by_hand(left, right, distance)


def test_pairs_come_in_order_where_a_row_fits_a_block():
    some = np.arange(50, dtype=np.uint64)
    pairs = near_duplicates(some, some, distance=2)
    assert pairs.tolist() == by_hand(some.tolist(), some.tolist(), 2)


def test_many_hashes_are_compared_a_block_at_a_time(monkeypatch):
    sizes = []
    count = np.bitwise_count
    monkeypatch.setattr(duplicates.np, "bitwise_count", lambda bits: sizes.append(bits.size) or count(bits))
    monkeypatch.setattr(duplicates, "CELLS", 1000)
    rng = np.random.default_rng(0)
    left, right = (rng.integers(0, 2**64, size, dtype=np.uint64) for size in (700, 2300))
    assert near_duplicates(left, left[:3], distance=0).tolist() == [[0, 0], [1, 1], [2, 2]]
    assert len(near_duplicates(left, right, distance=3)) == 0
    assert max(sizes) <= 1000
