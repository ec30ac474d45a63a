"""How much of the predicted texts is copied from their contexts: a part of every evaluation and prediction.

Copying scores well where refrains and names recur, so text scores are read beside these shares.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..api import copied_share, split_words

RUN = 4
"""Words in a run that counts as copied, as in the metric context-overlap-4."""
REPEATS, OVERLAP = "repeats_context", "context-overlap-4"


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
        OVERLAP: float(np.mean([copied_share(text, context, n=RUN) for text, context in pairs])),
    }
