"""Layers of the key-value cache in which several texts continue each context.

Shapes: B contexts, R texts, C texts of a context at most, N rows (contexts or texts), L positions of a context, t
tokens that a text has so far, n positions, G heads of keys and values, d width of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from transformers.cache_utils import DynamicLayer

from .shared_attention import CONTEXT, Places, SharedContext

GROWTH = 16
"""Positions by which a full cache grows at least, so that most steps copy nothing."""


class _Layer(DynamicLayer):  # type: ignore[no-untyped-call]
    """The keys and values of one layer, (N, G, n, d), in buffers with spare positions: most steps copy nothing."""

    def __init__(self, contexts: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.lazy_initialization(*contexts)
        self.buffers: list[Tensor] = []
        self.written = 0
        """Positions that were appended after those of the contexts."""

    def append(self, start: int, new: Sequence[Tensor]) -> list[Tensor]:
        """Write keys and values (N, G, n, d) at the position `start`; return those up to there and the new ones."""
        count = new[0].shape[2]
        end = start + count
        self.written += count
        if end > self.buffers[0].shape[2]:
            self.buffers = [_room(each[:, :, :start], end) for each in self.buffers]
        for buffer, each in zip(self.buffers, new, strict=True):
            buffer[:, :, start:end] = each
        return [buffer[:, :, :end] for buffer in self.buffers]


class TextsLayer(_Layer):  # type: ignore[no-untyped-call]
    """The keys and values of B contexts (B, G, L, d) and, in the buffers, of the own tokens of R texts (R, G, t, d)."""

    places: Places

    def __init__(self, contexts: Sequence[Tensor]) -> None:
        super().__init__(contexts)
        self.contexts = contexts

    def select(self, places: Places, *, continued: Tensor | None, chosen: Tensor | None) -> None:
        """Keep the texts `continued` and the contexts `chosen`, if not all of them, which are now at `places`."""
        self.places = places
        if continued is not None:
            self.buffers = [each[continued] for each in self.buffers]
        if chosen is not None:
            self.contexts = [each[chosen] for each in self.contexts]

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append a token's keys and values (R, G, 1, d); return the texts' own, with what they share."""
        new = [key_states, value_states]
        self.buffers = self.buffers or [each[:, :, :0] for each in new]
        keys, values = self.append(self.written, new)
        setattr(keys, CONTEXT, SharedContext(self.contexts[0], self.contexts[1], self.places, values))
        return keys, values

    def get_seq_length(self) -> int:
        """Return the positions of a text, with its context."""
        return self.contexts[0].shape[2] + self.written


class ContextsLayer(_Layer):  # type: ignore[no-untyped-call]
    """The keys and values of B contexts, in the buffers, and behind each the tokens of all its texts (B, G, n, d)."""

    def __init__(self, contexts: Sequence[Tensor]) -> None:
        super().__init__(contexts)
        self.buffers, self.length = list(contexts), contexts[0].shape[2]

    def select(self, places: Places, *, continued: Tensor | None, chosen: Tensor | None) -> None:
        """Keep the contexts `chosen`, if not all of them."""
        if chosen is not None:
            self.buffers = [each[chosen] for each in self.buffers]

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append the keys and values of a token of each text (B, G, C, d); return all of them."""
        keys, values = self.append(self.get_seq_length(), [key_states, value_states])
        return keys, values

    def get_seq_length(self) -> int:
        """Return the positions of a context and of all its texts."""
        return self.length + self.written


def _room(tokens: Tensor, wanted: int) -> Tensor:
    """Return a buffer for at least `wanted` positions that begins with keys or values (N, G, n, d)."""
    rows, heads, count, width = tokens.shape
    larger = tokens.new_empty(rows, heads, wanted + max(GROWTH, wanted // 4), width)
    larger[:, :, :count] = tokens
    return larger
