"""How much of the predicted texts and images is copied from their contexts: a part of every evaluation and prediction.

Copying scores well where refrains and names recur, and where images change little, so scores are read beside these
shares.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..api import copied_share, split_words
from ..data.duplicates import NEAR, perceptual_hash, same_pixels, thumbnail
from ..data.prepared import Prepared
from ..data.prepared_types import Windows
from ..data.shards import Rows

REPEATS, OVERLAP, REPEATS_IMAGE = "repeats_context", "context-overlap-4", "image_repeats_context"


def repeated_text(text: str, context: Sequence[str]) -> int | None:
    """Return the index of the last text of a context that has the same words, whatever their case; None without one."""
    words = split_words(text)
    same = [index for index, other in enumerate(context) if words and split_words(other) == words]
    return same[-1] if same else None


def copied(texts: Sequence[str], contexts: Sequence[Sequence[str]]) -> dict[str, float]:
    """Return the share of texts (W,) that repeat a text of their context, and the mean share of copied 4-grams."""
    pairs = list(zip(texts, contexts, strict=True))
    return {
        REPEATS: float(np.mean([repeated_text(text, context) is not None for text, context in pairs])),
        OVERLAP: float(np.mean([copied_share(text, context) for text, context in pairs])),
    }


def repeated_image(image: NDArray[np.uint8], context: Sequence[NDArray[np.uint8]]) -> int | None:
    """Return the index of the last image of a context that an image (H, W, 3) is a near-duplicate of; None without one.

    An equal one comes before. As in the audit of leaks, a similar hash nominates a pair, and the pixels decide.
    """
    if equal := [index for index, other in enumerate(context) if np.array_equal(image, other)]:
        return equal[-1]
    own, small = perceptual_hash(image), thumbnail(image)
    alike = [
        index
        for index, other in enumerate(context)
        if (own ^ perceptual_hash(other)).bit_count() <= NEAR and same_pixels(small, thumbnail(other))
    ]
    return alike[-1] if alike else None


def copied_images(images: Rows, prepared: Prepared, windows: Windows) -> float:
    """Return the share of images (W, H, W, 3) that are near-duplicates of an image of their context."""
    frames, hashes = prepared.frames.images, prepared.image_facts.hash

    def repeats(row: int) -> bool:
        (image,) = images.gather(np.array([row]))
        context = windows.image_rows[row, :-1]  # (K,)
        # The context's hashes are known, and so few images are read.
        nominated = context[np.bitwise_count(hashes[context] ^ np.uint64(perceptual_hash(image))) <= NEAR]
        return repeated_image(image, list(frames.gather(nominated))) is not None

    return float(np.mean([repeats(row) for row in range(len(windows))]))
