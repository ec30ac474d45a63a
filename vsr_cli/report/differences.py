"""Which words of a text another one has too, in the same order."""

from __future__ import annotations

import string
from collections.abc import Sequence
from difflib import SequenceMatcher

PUNCTUATION = string.punctuation + "‘’“”–—…"


def shared_and_own(text: str, other: str) -> list[str]:
    """Part a text into stretches that `other` shares and stretches of its own, in turn, a shared one first.

    Joined with spaces (empty stretches left out), they are the text again, with single spaces. Case and punctuation
    at a word's ends do not tell words apart.
    """
    words, others = text.split(), other.split()
    stretches = [""]
    for kind, start, end, _, _ in SequenceMatcher(None, _bare(words), _bare(others), autojunk=False).get_opcodes():
        if start == end:
            continue  # words that only the other has
        if (kind == "equal") != (len(stretches) % 2 == 1):
            stretches.append("")
        stretches[-1] = " ".join(filter(None, [stretches[-1], *words[start:end]]))
    return stretches


def _bare(words: Sequence[str]) -> list[str]:
    return [word.strip(PUNCTUATION).casefold() or word for word in words]
