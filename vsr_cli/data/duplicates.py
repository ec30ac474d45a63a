"""Identical and similar images: digests, perceptual hashes, and the search for near-duplicates."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

NEAR = 4
"""Maximum number of differing bits, of 64, between perceptual hashes of near-duplicates. In 241 picture books (2,404
images), all 30 pairs of two books up to 4 bits show the same drawing; from 6 on, most are unrelated.
"""
THUMBNAIL = 32
SAME = 4.0
"""The largest root mean square difference (0 to 255) between thumbnails of near duplicates.

Hashes alone match drawings that share a backdrop: of 171 targets of storyworld, 157 have a match in training, 11 within
this bound; in real stories, all but one of 56 matching pairs are within 2.
"""
CELLS = 1 << 18
"""Number of pairs compared at a time, which fit the cache of a processor."""


def near_duplicates(left: NDArray[np.uint64], right: NDArray[np.uint64], *, distance: int) -> NDArray[np.int64]:
    """Return the pairs (n, 2) of an index of `left` and one of `right` whose hashes differ in at most `distance` bits.

    Pairs are sorted. All pairs are compared, one block at a time, to save memory.
    """
    rows = max(1, CELLS // max(1, len(right)))
    found = [np.empty((0, 2), dtype=np.int64)]
    for top in range(0, len(left), rows):
        for start in range(0, len(right), CELLS):
            differing = left[top : top + rows, None] ^ right[None, start : start + CELLS]  # (rows, columns)
            similar = np.flatnonzero(np.bitwise_count(differing) <= distance)  # four times as fast as argwhere
            pairs = np.stack(np.divmod(similar, differing.shape[1]), axis=1)  # (n, 2)
            found.append(np.add(pairs, (top, start)))
    return np.concatenate(found)


def same_pixels(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    """Return whether two thumbnails differ no more than near-duplicates do."""
    return bool(np.sqrt(np.square(one - other).mean()) <= SAME)


def thumbnail(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return an image (H, W, 3) at the size at which pixels are compared, (32, 32, 3)."""
    small = Image.fromarray(pixels).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32)


def distinct(digests: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number distinct digests (n, 16) in the order of their first appearance.

    Returns the number of each digest (n,), and for each number the index of its first occurrence. It sorts, as a
    dictionary would take a hundred bytes per entry.
    """
    low, high = np.ascontiguousarray(digests).view(np.uint64).T if len(digests) else np.empty((2, 0), np.uint64)
    order = np.lexsort((low, high))  # stable: of equal digests, the first comes first
    new = np.ones(len(order), np.bool_)
    new[1:] = (low[order][1:] != low[order][:-1]) | (high[order][1:] != high[order][:-1])
    first = order[new]  # by position in the sorted order
    appearance = np.argsort(first)
    number = np.empty(len(first), np.int64)
    number[appearance] = np.arange(len(first))
    numbers = np.empty(len(order), np.int64)
    numbers[order] = number[np.cumsum(new) - 1]
    return numbers, first[appearance]


def digest_image(array: NDArray[np.uint8]) -> str:
    """Digest an image's shape and pixels: 32 hexadecimal digits of a SHA-256."""
    assert array.dtype == np.uint8
    digest = hashlib.sha256(f"{array.shape};".encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:32]


_ANGLES = np.outer(np.arange(8), 2 * np.arange(32) + 1) * np.pi / 64  # (8, 32)
# Cosines as integers, so that a hash is the same on every machine; all rows but the first sum to zero.
_COSINES = np.rint(4096 * np.cos(_ANGLES)).astype(np.int64)


def perceptual_hash(pixels: NDArray[np.uint8]) -> int:
    """Return 64 bits that change little if an image (H, W, 3) is encoded again or slightly resized.

    The DCT hash of C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions" (2010): of the
    discrete cosine transform of 32 x 32 grey values, whether each of the 8 x 8 lowest frequencies exceeds their
    median. Zauner omits the lowest row and column; with them, stills of one scene are distinguished slightly better.
    All images of a single colour have similar hashes.
    """
    grey = Image.fromarray(pixels).convert("L").resize((32, 32), Image.Resampling.BOX)
    waves = _COSINES @ np.asarray(grey, dtype=np.int64) @ _COSINES.T  # (8, 8)
    return int.from_bytes(np.packbits(waves > np.median(waves)).tobytes())
