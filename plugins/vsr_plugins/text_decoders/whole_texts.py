"""The base class of text decoders that select whole texts, which they return as they stand in the story."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vsr_cli.api import TokenBatch
from vsr_cli.api.token_decoder import TokenDecoder

PADDING, END = 0, 1
FIRST = 2
"""The id of the character U+0000; that of any other is larger by its code point."""


class WholeTextDecoder(TokenDecoder):
    """A text decoder whose tokens are characters, so that no case, punctuation or spacing is lost.

    `vocabulary` is still the text encoder's: by its tokens, texts are compared.
    """

    models_text = False

    def tokenize(self, texts: Sequence[str]) -> TokenBatch:
        """Return the characters of texts and their mask (N, length), with a final end unless the text is truncated."""
        ids = np.full((len(texts), self.length), PADDING, dtype=np.int64)
        for row, text in zip(ids, texts, strict=True):
            characters = [*(FIRST + ord(character) for character in text[: self.length]), END][: self.length]
            row[: len(characters)] = characters
        return TokenBatch(ids=ids, mask=ids != PADDING)

    def detokenize(self, ids: Tensor) -> list[str]:
        """Return the text of each row of characters (B, T), up to its first end."""
        rows: list[list[int]] = ids.tolist()
        ended = [row[: row.index(END)] if END in row else row for row in rows]
        return ["".join(chr(each - FIRST) for each in row if each >= FIRST) for row in ended]

    def _characters(self, texts: Sequence[str], device: torch.device) -> Tensor:
        """Return the ids (B, T) of texts to generate, T being the length of the longest."""
        tokens = self.tokenize(texts)
        return torch.from_numpy(tokens.ids[:, : int(tokens.mask.sum(axis=1).max())]).to(device)
