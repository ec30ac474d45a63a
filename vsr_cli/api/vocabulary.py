"""The vocabulary of a text encoder or text decoder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Tokenizer
    from torch import Tensor

AT_ONCE = 4096
"""Texts per batch: the library needs several kilobytes of memory for each."""


@dataclass(frozen=True, kw_only=True)
class TokenBatch:
    """Token ids and the mask of real tokens, both (N, L); padding is on the right."""

    ids: NDArray[np.int64]
    mask: NDArray[np.bool_]
    cut: NDArray[np.bool_] | None = None
    """True for truncated texts, (N,); None if unknown."""


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """A tokenizer of the `tokenizers` library with the ids of its padding, first and last token.

    BERT's [CLS] and [SEP] are its first and last token. The name of a special token in a text is text: "[SEP]"
    is encoded as its characters, never as the token.
    """

    tokenizer: Tokenizer
    pad: int
    bos: int
    eos: int

    def __len__(self) -> int:
        return int(self.tokenizer.get_vocab_size())

    @property
    def largest(self) -> int:
        """The largest id of padding, bos, eos or a token of a text. Larger ones belong to other special tokens."""
        used = set(self.tokenizer.get_vocab().values()) - self._special.forbidden
        return max(used | {self.pad, self.bos, self.eos})

    def encode(self, texts: Sequence[str], *, length: int) -> TokenBatch:
        """Encode whole texts as bos … eos, truncated to at most `length` tokens, always with eos."""
        return self._batch(texts, first=[self.bos], length=length)

    def encode_targets(self, texts: Sequence[str], *, length: int) -> TokenBatch:
        """Encode texts as targets of a decoder: … eos, without bos, truncated to at most `length` tokens.

        A truncated text does not end in eos, so that the decoder does not learn to stop within a sentence.
        """
        return self._batch(texts, first=[], length=length)

    def encode_text(self, text: str) -> list[int]:
        """Return all tokens of a text, without bos and eos."""
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.tokenizer.encode_special_tokens = True  # as text
        return self._without_special(text, self.tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Tensor | NDArray[np.int64]) -> list[str]:
        """Return the text of each row of ids (N, L), up to its first eos, without special tokens."""
        rows: list[list[int]] = ids.tolist()
        cut = [row[: row.index(self.eos)] if self.eos in row else row for row in rows]
        return [text.strip() for text in self.tokenizer.decode_batch(cut, skip_special_tokens=True)]

    @cached_property
    def never_generated(self) -> list[int]:
        """The special tokens that no text holds, but for eos, which ends it: a tokenizer may use one token for both."""
        return sorted(self._special.forbidden - {self.eos})

    def decode_tokens(self, ids: Sequence[int]) -> list[str]:
        """Return the text of each token by itself, as it stands, special tokens included."""
        return self.tokenizer.decode_batch([[index] for index in ids], skip_special_tokens=False)

    def without_special_tokens(self, text: str) -> str:
        """Return a text in which names of special tokens are written with spaces, for use in a template."""
        return self._special.names.sub(lambda name: _spread(name[0]), text)

    def save(self, path: Path) -> None:
        """Write the tokenizer to a JSON file that `load` reads back."""
        # The save method of the library raises a bare Exception if the disk is full.
        path.write_text(self.tokenizer.to_str(pretty=True), encoding="utf-8")

    @classmethod
    def load(cls, path: Path, *, pad: str = "[PAD]", bos: str = "[CLS]", eos: str = "[SEP]") -> Vocabulary:
        """Read a `tokenizer.json`. Raises KeyError if one of the three special tokens is not in it."""
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(path))
        known = tokenizer.get_vocab()
        for token in (pad, bos, eos):
            if token not in known:
                raise KeyError(f"{path}: no token {token}")
        return cls(tokenizer=tokenizer, pad=known[pad], bos=known[bos], eos=known[eos])

    def _batch(self, texts: Sequence[str], *, first: list[int], length: int) -> TokenBatch:
        import numpy as np  # not at import: the command line needs no numpy to show its help

        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.tokenizer.encode_special_tokens = True  # as text
        texts = list(texts)
        ids = np.full((len(texts), length), self.pad, dtype=np.int64)
        mask = np.zeros((len(texts), length), dtype=np.bool_)
        cut = np.zeros(len(texts), dtype=np.bool_)
        for start in range(0, len(texts), AT_ONCE):
            encoded = self.tokenizer.encode_batch_fast(texts[start : start + AT_ONCE], add_special_tokens=False)
            for index, item in enumerate(encoded, start):
                row = [*first, *self._without_special(texts[index], item.ids), self.eos]
                cut[index] = len(row) > length
                tokens = [*row[: length - 1], self.eos] if first and cut[index] else row[:length]
                ids[index, : len(tokens)] = tokens
                mask[index, : len(tokens)] = True
        return TokenBatch(ids=ids, mask=mask, cut=cut)

    def _without_special(self, text: str, ids: list[int]) -> list[int]:
        """Return the ids of a text, without special tokens except the unknown token.

        If the tokenizer model has a special token as a piece (a Unigram vocabulary has "<s>"), its name is encoded with
        spaces between its characters, which normalized texts do not distinguish.
        """
        special = self._special
        if special.forbidden.isdisjoint(ids) and not (special.unknown in ids and special.names.search(text)):
            return ids
        encoded = self.tokenizer.encode(self.without_special_tokens(text), add_special_tokens=False).ids
        return [index for index in encoded if index not in special.forbidden]

    @cached_property
    def _special(self) -> _Special:
        known = {
            index: token.content for index, token in self.tokenizer.get_added_tokens_decoder().items() if token.special
        }
        known |= {index: self.tokenizer.id_to_token(index) or "" for index in (self.pad, self.bos, self.eos)}
        unknown = getattr(self.tokenizer.model, "unk_token", None) or next(
            (name for name in known.values() if "unk" in name.lower()), None
        )
        names = "|".join(re.escape(name) for name in sorted(known.values(), key=len, reverse=True) if name)
        unknown_id = self.tokenizer.token_to_id(unknown) if unknown else None
        ends = {self.pad, self.bos, self.eos}
        return _Special(re.compile(names), frozenset(known) - ({unknown_id} - ends), unknown_id)


@dataclass(frozen=True)
class _Special:
    """The special tokens of a tokenizer."""

    names: re.Pattern[str]
    forbidden: frozenset[int]
    """Special tokens that are never part of an encoded text: all but the unknown token."""
    unknown: int | None


def _spread(name: str) -> str:
    """Write a special token's name with spaces: "[ SEP ]"; one without punctuation letter by letter."""
    pieces = re.findall(r"[^\W_]+|.", name)
    return " ".join(pieces if len(pieces) > 1 else name)
