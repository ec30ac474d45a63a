"""Which words of a text another one has too, in the same order."""

from __future__ import annotations

import string
from collections.abc import Sequence

MOST_WORDS = 4000
"""Of each text that are compared; what comes after counts as its own."""
PUNCTUATION = string.punctuation + "‘’“”–—…"


def shared_and_own(text: str, other: str) -> list[str]:
    """Part a text into stretches that `other` shares and stretches of its own, in turn, a shared one first.

    Joined with spaces (empty stretches left out), they are the text again, with single spaces. Case and punctuation
    at a word's ends do not tell words apart.
    """
    words, others = text.split(), other.split()
    shared = _longest_common(_bare(words[:MOST_WORDS]), _bare(others[:MOST_WORDS]))
    stretches: list[list[str]] = [[]]
    for index, word in enumerate(words):
        if (index in shared) != (len(stretches) % 2 == 1):
            stretches.append([])
        stretches[-1].append(word)
    return [" ".join(stretch) for stretch in stretches]


def _bare(words: Sequence[str]) -> list[str]:
    return [word.strip(PUNCTUATION).casefold() or word for word in words]


def _longest_common(words: Sequence[str], others: Sequence[str]) -> set[int]:
    """Return which words are in a longest common subsequence.

    Hyyrö, "Bit-parallel LCS-length computation revisited" (2004): a row of the table of lengths is one integer, whose
    bits are 0 where the length grows. So even texts that repeat one word take little time.
    """
    places: dict[str, int] = {}
    for at, word in enumerate(others):
        places[word] = places.get(word, 0) | 1 << at
    whole = (1 << len(others)) - 1
    rows = [whole]
    for word in words:
        matches = rows[-1] & places.get(word, 0)
        rows.append((rows[-1] + matches | rows[-1] - matches) & whole)
    shared: set[int] = set()
    row, column = len(words), len(others)
    while row and column:
        if rows[row] >> column - 1 & 1:
            column -= 1
        elif rows[row - 1] >> column - 1 & 1:
            row, column = row - 1, column - 1
            shared.add(row)
        else:
            row -= 1
    return shared
