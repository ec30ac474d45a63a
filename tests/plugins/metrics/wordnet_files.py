"""A reader of WordNet's own files, in the format of manual page wndb(5WN): what the shipped tables are compared with.

nltk has a reader of its own, but it wants files that Debian's package leaves out (`lexnames`, `index.sense`). This one
maps the files and searches them: the index is sorted, and names the byte at which each synset stands in the data file.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from vsr_plugins.metrics.wordnet import SUFFIXES, Lemma, Synset


class WordNet:
    """A `Thesaurus` on a folder of WordNet 3 files: the synsets of nltk's reader, in its order.

    Raises OSError if a file is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._index = {pos: _map(folder / f"index.{pos}") for pos in SUFFIXES}
        self._data = {pos: _map(folder / f"data.{pos}") for pos in SUFFIXES}
        self._exceptions = {pos: _read_exceptions(folder / f"{pos}.exc") for pos in SUFFIXES}
        licence = re.search(rb"WordNet (\S+) Copyright", self._data["adj"][:4096])
        self.version = licence[1].decode() if licence else "unknown"
        self.synsets = lru_cache(maxsize=1 << 16)(self._synsets)

    def _synsets(self, lemma: str) -> list[Synset]:
        word = lemma.lower()
        return [
            self._synset(pos, offset)
            for pos in SUFFIXES
            for offsets in self._base_forms(word, pos)
            for offset in offsets
        ]

    def _base_forms(self, word: str, pos: str) -> Iterator[list[int]]:
        """Return the synsets' offsets of each form of a word that is in the index.

        The forms are the word itself, then its exceptions or else what the rules of detachment make of it.
        """
        forms = self._exceptions[pos].get(word)
        if forms is None:
            forms = [word[: -len(old)] + new for old, new in SUFFIXES[pos] if word.endswith(old)]
        for form in dict.fromkeys([word, *forms]):
            line = _search(self._index[pos], form.encode())
            if line is not None:
                # lemma pos synset_cnt p_cnt [ptr_symbol...] sense_cnt tagsense_cnt synset_offset...
                fields = line.split()
                yield [int(offset) for offset in fields[-int(fields[2]) :]]

    def _synset(self, pos: str, offset: int) -> Synset:
        # synset_offset lex_filenum ss_type w_cnt word lex_id [word lex_id...] ..., with w_cnt hexadecimal
        data = self._data[pos]
        fields = data[offset : data.find(b"\n", offset)].decode().split()
        words = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
        # An adjective's word may end in its syntactic place, e.g. "(p)" for predicate position.
        return Synset(tuple(Lemma(re.sub(r"\([^()]*\)$", "", word)) for word in words))


def _map(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _read_exceptions(path: Path) -> dict[str, list[str]]:
    """Read "inflected base [base...]" lines; of two lines for one word the last counts, as in nltk."""
    lines = (line.split() for line in path.read_text(encoding="utf-8").splitlines())
    return {words[0]: words[1:] for words in lines if words}


def _search(index: mmap.mmap, lemma: bytes) -> bytes | None:
    """Find the line of an index that begins with a lemma, by bisection over bytes."""
    if not lemma:  # a rule of detachment can leave nothing; the licence's lines begin with a space
        return None
    low, high = 0, len(index)
    while low < high:
        middle = (low + high) // 2
        start = index.rfind(b"\n", low, middle) + 1 or low
        end = index.find(b"\n", middle)
        line = index[start : end if end >= 0 else len(index)]
        word = line.split(b" ", 1)[0]
        if word == lemma:
            return line
        if word < lemma:
            low = start + len(line) + 1
        else:
            high = start
    return None
