"""Synonyms from WordNet 3.0 for METEOR.

The tables beside this module (`wordnet-3.0/`, made by `scripts/build_wordnet.py`) hold the words of every synset, the
synsets of every word and the irregular forms; glosses and relations are left out. Each part of speech is decompressed
when it is first asked for, and stays as sorted lines that are searched by bisection: a few megabytes in all.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Protocol

FOLDER = Path(__file__).parent / "wordnet-3.0"
VERSION = "3.0"
SUFFIXES = {
    "noun": (
        ("s", ""),
        ("ses", "s"),
        ("ves", "f"),
        ("xes", "x"),
        ("zes", "z"),
        ("ches", "ch"),
        ("shes", "sh"),
        ("men", "man"),
        ("ies", "y"),
    ),
    "verb": (
        ("s", ""),
        ("ies", "y"),
        ("es", "e"),
        ("es", ""),
        ("ed", "e"),
        ("ed", ""),
        ("ing", "e"),
        ("ing", ""),
    ),
    "adj": (("er", ""), ("est", ""), ("er", "e"), ("est", "e")),
    "adv": (),
}
"""The parts of speech, and how endings are replaced to find a base form: morphy(7WN), "Rules of Detachment".

nltk has one more rule, "ves" to "f"; it is used, so that the scores are nltk's.
"""


class HasName(Protocol):
    """A word of a synset, as nltk's METEOR takes it."""

    def name(self) -> str:
        """Return the word, "_" for a space in it."""
        ...


class HasLemmas(Protocol):
    """A set of synonyms, as nltk's METEOR takes it."""

    def lemmas(self) -> Sequence[HasName]:
        """Return its words."""
        ...


class Thesaurus(Protocol):
    """The part of WordNet that nltk's METEOR uses."""

    def synsets(self, lemma: str) -> Sequence[HasLemmas]:
        """Return the synsets of a word or of what it is an inflection of; none if it is unknown."""
        ...


@dataclass(frozen=True)
class Lemma:
    """A word of a synset."""

    word: str

    def name(self) -> str:
        """Return the word, "_" for a space in it."""
        return self.word


@dataclass(frozen=True)
class Synset:
    """A set of synonyms."""

    words: tuple[Lemma, ...]

    def lemmas(self) -> Sequence[Lemma]:
        """Return its words."""
        return self.words


class Synonyms:
    """A `Thesaurus` with a memory: all synonyms of a word as one synset, which is all that METEOR makes of several."""

    def __init__(self, thesaurus: Thesaurus) -> None:
        self._thesaurus = thesaurus
        self.synsets = lru_cache(maxsize=1 << 16)(self._synsets)

    def _synsets(self, lemma: str) -> tuple[Synset]:
        names = {each.name() for synset in self._thesaurus.synsets(lemma) for each in synset.lemmas()}
        return (Synset(tuple(map(Lemma, sorted(names)))),)


class WordNet:
    """A `Thesaurus` on the tables of a folder: the synsets that nltk's reader returns, in its order."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._parts = [_PartOfSpeech(folder, pos) for pos in SUFFIXES]

    def synsets(self, lemma: str) -> list[Synset]:
        """Return the synsets of a word or of what it is an inflection of; none if it is unknown."""
        word = lemma.lower()
        return [synset for part in self._parts for synset in part.synsets(word)]


class _PartOfSpeech:
    """The tables of one part of speech, each read when it is first needed."""

    def __init__(self, folder: Path, pos: str) -> None:
        self._folder, self._pos = folder, pos

    @cached_property
    def _index(self) -> bytes:
        """Lines "lemma place [place...]", sorted, where a place is the byte at which a line of `_words` begins."""
        return self._read("index")

    @cached_property
    def _words(self) -> bytes:
        """Lines "word [word...]", one for each synset."""
        return self._read("synsets")

    @cached_property
    def _exceptions(self) -> dict[str, list[str]]:
        """Base forms of each irregular form."""
        lines = (line.split() for line in self._read("exceptions").decode().splitlines())
        return {inflected: bases for inflected, *bases in lines}

    def _read(self, table: str) -> bytes:
        return lzma.decompress((self._folder / f"{table}.{self._pos}.xz").read_bytes())

    def synsets(self, word: str) -> Iterator[Synset]:
        """Yield the synsets of each form of a word in lower case that is in the index.

        The forms are the word itself, then its exceptions or else what the rules of detachment make of it.
        """
        forms = self._exceptions.get(word)
        if forms is None:
            forms = [word[: -len(old)] + new for old, new in SUFFIXES[self._pos] if word.endswith(old)]
        for form in dict.fromkeys([word, *forms]):
            for place in _search(self._index, form.encode()):
                words = self._words[place : self._words.index(b"\n", place)].decode().split(" ")
                yield Synset(tuple(map(Lemma, words)))


def _search(index: bytes, lemma: bytes) -> list[int]:
    """Return the places on the line of an index that begins with a lemma, found by bisection over bytes."""
    low, high = 0, len(index)
    while low < high:
        start = index.rfind(b"\n", low, (low + high) // 2) + 1 or low
        end = index.index(b"\n", start)
        word, *places = index[start:end].split(b" ")
        if word == lemma:
            return [int(place) for place in places]
        if word < lemma:
            low = end + 1
        else:
            high = start
    return []
