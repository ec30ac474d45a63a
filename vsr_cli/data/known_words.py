"""The words of a run's training texts, by which a prediction knows stories that are unlike all of them.

Written once when training begins, as hashes of four bytes. With each goes how new the training stories are to each
other: in a few stories most words are new, and that is no sign of another kind of story.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..api import split_words
from ..runs.run import REMEDY
from .shards import map_shard, save_shard

KNOWN_WORDS = "known_words.safetensors"
"""The file, among the assets of a run."""
LEAST_SHARE = 0.55
"""Share of unknown words above which a story is unlike the training stories, where these are like each other."""
MARGIN = 0.1
"""Above what the training stories have among each other. Both numbers are from 241 picture books and storyworld."""
USUAL = 0.99
"""Quantile of the training contexts: one story in another language among them decides nothing."""
LEAST_WORDS = 5
"""Unknown words, below which nothing is said."""


@dataclass(frozen=True)
class KnownWords:
    """The words of the training texts."""

    hashes: NDArray[np.uint32]
    """Sorted."""
    limit: float
    """The share of unknown words, of all different words of a context, above which its story is unlike the training's.
    """

    @classmethod
    def of(cls, texts: Sequence[str], story: Sequence[int], *, context_frames: int) -> KnownWords:
        """Collect the words of the texts of whole stories, (F,) in their order; `story` is the story of each, (F,).

        The limit comes from the contexts of `context_frames` texts, each scored by the words of all other stories.
        """
        stories: dict[int, list[set[str]]] = {}
        for text, index in zip(texts, story, strict=True):
            stories.setdefault(int(index), []).append(set(split_words(text)))
        told_in = Counter(word for frames in stories.values() for word in set().union(*frames))
        shares = [
            sum(told_in[word] == 1 for word in words) / len(words)
            for frames in stories.values()
            for first in range(max(1, len(frames) - context_frames))
            if (words := set().union(*frames[first : first + context_frames]))
        ]
        usual = float(np.quantile(shares, USUAL)) if shares else 0.0
        return cls(_hashes(told_in), max(LEAST_SHARE, usual + MARGIN))

    @classmethod
    def load(cls, path: Path) -> KnownWords:
        """Read what `save` wrote. Raises VsrError if it is damaged."""
        shard = map_shard(path, remedy=REMEDY)
        return cls(shard["hashes"], float(shard["limit"][0]))

    def save(self, path: Path) -> None:
        """Write a file. Raises VsrError if that fails."""
        save_shard(path, {"hashes": self.hashes, "limit": np.array([self.limit], dtype=np.float32)})

    def unknown_share(self, texts: Iterable[str]) -> float | None:
        """Return the share of unknown words, of all different ones, if it is above the limit; else None."""
        words = {word for text in texts for word in split_words(text)}
        unknown = int((~np.isin(_hashes(words), self.hashes)).sum())
        share = unknown / len(words) if unknown >= LEAST_WORDS else 0.0
        return share if share > self.limit else None


def _hashes(words: Iterable[str]) -> NDArray[np.uint32]:
    digests = {int.from_bytes(blake2b(word.encode(), digest_size=4).digest(), "little") for word in words}
    return np.array(sorted(digests), dtype=np.uint32)
