"""The words that a text encoder reads and a text decoder writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor

AT_ONCE = 4096
"""Texts whose encodings are in memory together: the library keeps several kilobytes of each."""


@dataclass(frozen=True, kw_only=True)
class TokenBatch:
    """Token ids and the mask of real tokens, both (N, L); padding is on the right."""

    ids: NDArray[np.int64]
    mask: NDArray[np.bool_]
    cut: NDArray[np.bool_] | None = None
    """True where a text had more tokens than were kept, (N,); None where nobody counted."""


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """A tokenizer of the `tokenizers` library with the ids of its padding, first and last token.

    BERT's [CLS] and [SEP] are its first and last token.
    """

    tokenizer: Tokenizer
    pad: int
    bos: int
    eos: int

    def __len__(self) -> int:
        return int(self.tokenizer.get_vocab_size())

    def encode(self, texts: Sequence[str], *, length: int) -> TokenBatch:
        """Encode whole texts as bos … eos, cut to at most `length` tokens and always ending in eos."""
        return self._batch(texts, first=[self.bos], length=length)

    def encode_targets(self, texts: Sequence[str], *, length: int) -> TokenBatch:
        """Encode texts for a decoder to write: … eos, with no bos, cut to at most `length` tokens.

        A text that is cut does not end in eos: the decoder is not taught to stop in mid-sentence.
        """
        return self._batch(texts, first=[], length=length)

    def decode(self, ids: Tensor | NDArray[np.int64]) -> list[str]:
        """Give the text of each row of ids (N, L), up to its first eos, without special tokens."""
        rows: list[list[int]] = ids.tolist()
        cut = [row[: row.index(self.eos)] if self.eos in row else row for row in rows]
        return [text.strip() for text in self.tokenizer.decode_batch(cut, skip_special_tokens=True)]

    def save(self, path: Path) -> None:
        """Write the tokenizer to a JSON file that `load` reads back."""
        self.tokenizer.save(str(path))

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
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        texts = list(texts)
        ids = np.full((len(texts), length), self.pad, dtype=np.int64)
        mask = np.zeros((len(texts), length), dtype=np.bool_)
        cut = np.zeros(len(texts), dtype=np.bool_)
        for start in range(0, len(texts), AT_ONCE):
            encoded = self.tokenizer.encode_batch_fast(texts[start : start + AT_ONCE], add_special_tokens=False)
            for index, item in enumerate(encoded, start):
                row = [*first, *item.ids, self.eos]
                cut[index] = len(row) > length
                kept = [*row[: length - 1], self.eos] if first and cut[index] else row[:length]
                ids[index, : len(kept)] = kept
                mask[index, : len(kept)] = True
        return TokenBatch(ids=ids, mask=mask, cut=cut)
