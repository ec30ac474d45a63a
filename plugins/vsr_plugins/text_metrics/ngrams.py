"""Words and runs of words, for the metrics that count them."""

from __future__ import annotations

import re
from collections.abc import Iterator

WORD = re.compile(r"\w+(?:'\w+)*")
"""A word with its apostrophes; punctuation is none."""


def words(text: str) -> list[str]:
    """Give the words of a text in lower case."""
    return WORD.findall(text.lower())


def ngrams(tokens: list[str], n: int) -> Iterator[tuple[str, ...]]:
    """Yield every run of n words."""
    return zip(*(tokens[start:] for start in range(n)), strict=False)
