"""Porter stems, each word's found once: stemming is most of what ROUGE and METEOR take time for."""

from __future__ import annotations

from functools import lru_cache


class PorterStems:
    """nltk's Porter stemmer with a memory."""

    def __init__(self) -> None:
        from nltk.stem.porter import PorterStemmer

        self._stem = lru_cache(maxsize=1 << 16)(PorterStemmer().stem)

    def stem(self, word: str) -> str:
        """Return the stem of a word, in lower case."""
        return str(self._stem(word))
