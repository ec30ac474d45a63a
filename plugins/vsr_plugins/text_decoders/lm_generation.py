"""Generation of several texts for each context by a language model, with one key-value cache per context.

Shapes: B contexts, R texts that are generated together, L positions of a context, C texts of a context, t tokens that a
text has so far, S positions of a row, M vectors of a story, E width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache, DynamicLayer

from vsr_cli.api import VsrError

from .lm_model import UNUSABLE, LanguageModel, insert, passes

WINDOWS = ("sliding_window", "window_size", "local_attention", "attention_chunk_size")
"""Settings of local attention in the architectures of transformers."""
SLIDING = "sliding_attention"
"""A kind of layers in the architectures of transformers; without a list of kinds, all layers are of the same."""
GROWTH = 1.5
"""By how much a full cache grows, so that most steps copy nothing."""


class Generation:
    """The state of generating several texts for each of B contexts, which are encoded once.

    The texts of a story are the query positions of one row: all of them attend to the same cached context, and each to
    its own tokens among the cached ones. So the context's keys and values are neither repeated nor copied.
    """

    def __init__(self, language: LanguageModel, rows: Sequence[Tensor], vectors: Tensor) -> None:
        self.language = language
        lower, upper, _ = language._views
        self.lengths = torch.tensor([len(row) for row in rows], device=vectors.device)
        self.stacks: list[_Stack] = []
        if lower is not None:
            tokens = [(row >= 0).nonzero()[:, 0] for row in rows]
            self.stacks.append(_Stack(lower, tokens))
            embedded = self.stacks[0].prefill(
                [language.embeddings(row[where]) for row, where in zip(rows, tokens, strict=True)]
            )
            entered = []
            for row, where, states in zip(rows, tokens, embedded, strict=True):
                entered.append(states.new_zeros(len(row), states.shape[1]).index_copy(0, where, states))
        else:
            entered = language.entered(rows)
        everywhere = [torch.arange(len(row), device=vectors.device) for row in rows]
        self.stacks.append(_Stack(upper, everywhere))
        inputs = [
            insert(states[None], row[None], own[None])[0]
            for states, row, own in zip(entered, rows, vectors, strict=True)
        ]
        last = torch.stack([states[-1] for states in self.stacks[-1].prefill(inputs)])
        self.first = language.scores(last)  # (B, V)
        self.stories = torch.arange(len(rows), device=vectors.device)
        self.written = 0

    def start(self) -> tuple[Tensor, ...]:
        """Return the state before the first token: the story of each text (B,) and its tokens in the cache (B, 0)."""
        return self.stories, self.stories.new_zeros(len(self.stories), 0)

    def step(self, tokens: Tensor, state: tuple[Tensor, ...], fixed: tuple[Tensor, ...]) -> tuple[Tensor, Any]:
        """Return scores (R, V) of the tokens after `tokens` (R,), and the new state.

        The texts of a story are neighbors. A text that is left out of R is not continued.
        """
        story, past = state  # (R,), (R, t): where among the generated tokens in the cache each text's own are
        if not self.written:
            self.written = 1
            return self.first[story].clone(), state
        stories, row, count = torch.unique_consecutive(story, return_inverse=True, return_counts=True)
        first = count.cumsum(0) - count
        column = torch.arange(len(story), device=story.device) - first[row]
        columns = int(count.max())
        ids = tokens.new_zeros(len(stories), columns).index_put((row, column), tokens)
        positions = (self.lengths[stories] + past.shape[1])[:, None].expand(-1, columns)
        hidden = self.language.embeddings(ids)
        chosen = None if len(stories) == len(self.stories) else torch.searchsorted(self.stories, stories)
        self.stories = stories
        for stack in self.stacks:
            hidden, place = stack.extend(hidden, positions, (row, column, past), chosen)
        past = torch.cat([past, (place + column)[:, None]], dim=1)
        return self.language.scores(hidden[row, column]), (story, past)


@torch.no_grad()
def verify_generation(language: LanguageModel, *, longest: int) -> None:
    """Raise VsrError if two texts that are generated token by token get other scores than as whole rows.

    If attention looks back on fewer tokens than the longest row has, `longest`, the rows here have more than that.
    """
    window = min(_windows(language.model.config.get_text_config()), default=longest)
    context = torch.arange(1, 4 + (window if window < longest else 0)) % language.embeddings.num_embeddings
    texts, last = torch.tensor([[1, 2], [3, 1]]), torch.tensor([-1])
    vectors = language.embeddings.weight.new_zeros(1, 0, language.width)
    wanted = language.states([torch.cat([context, text]) for text in texts], vectors.expand(2, -1, -1), [last, last])
    try:
        generation = Generation(language, [context], vectors)
        state = tuple(each.repeat_interleave(2, dim=0) for each in generation.start())
        for tokens in (texts[:, 0], *texts.T):  # the first call needs no token: the context's own scores answer it
            scores, state = generation.step(tokens, state, ())
    except UNUSABLE as error:
        raise VsrError("its architecture does not generate with a key-value cache of several texts") from error
    if not torch.allclose(scores, language.scores(wanted), rtol=1e-2, atol=1e-2 * float(scores.std())):
        raise VsrError("its architecture gives other scores token by token than for a whole text")


def _windows(config: Any) -> list[int]:
    """Return on how many tokens the layers of an architecture with local attention look back."""
    return [size for name in WINDOWS if isinstance(size := getattr(config, name, None), int) and size > 0]


class _Stack:
    """A stack of layers with its key-value cache: the contexts, padded on the left, then generated tokens."""

    def __init__(self, stack: Any, positions: Sequence[Tensor]) -> None:
        self.stack, self.positions = stack, positions
        self.cache = self._new_cache()
        self.context: Tensor  # (B, L): where the context is real
        self.generated = 0

    def prefill(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Encode the contexts (S, E) of different lengths; return the states (S, E) of each."""
        longest = max(len(each) for each in inputs)
        left = [longest - len(each) for each in inputs]
        device = inputs[0].device
        self.context = torch.arange(longest, device=device) >= torch.tensor(left, device=device)[:, None]
        states: dict[int, Tensor] = {}
        for part in passes(inputs):
            size = max(len(inputs[row]) for row in part)
            gaps = {row: size - len(inputs[row]) for row in part}
            cache = self._new_cache()
            found = self.stack(
                inputs_embeds=torch.stack(
                    [nn.functional.pad(inputs[row], (0, 0, gap, 0)) for row, gap in gaps.items()]
                ),
                attention_mask=self.context[part, longest - size :].long(),
                position_ids=torch.stack(
                    [nn.functional.pad(self.positions[row], (gap, 0)) for row, gap in gaps.items()]
                ),
                past_key_values=cache,
                use_cache=True,
            ).last_hidden_state
            states |= {row: own[gap:] for own, (row, gap) in zip(found, gaps.items(), strict=True)}
            for layer, of_part in zip(self.cache.layers, cache.layers, strict=True):
                layer.take(of_part, part, rows=len(inputs), longest=longest)
        return [states[row] for row in range(len(inputs))]

    def _new_cache(self) -> Any:
        layers: list[Any] = [_GrowingLayer() for _ in range(self.stack.config.num_hidden_layers)]  # type: ignore[no-untyped-call]
        return Cache(layers=layers)

    def extend(
        self, hidden: Tensor, positions: Tensor, texts: tuple[Tensor, Tensor, Tensor], chosen: Tensor | None
    ) -> tuple[Tensor, int]:
        """Run one token of each text; return the states (B, C, E), and where the tokens begin among the generated ones.

        `hidden` is (B, C, E), `positions` (B, C); `texts` are the row and column of each text (R,) and its generated
        tokens (R, t); `chosen` are the contexts (B,) among those of the step before, if there are fewer.
        """
        if chosen is not None:
            self.cache.batch_select_indices(chosen)
            self.context = self.context[chosen]
        (rows, columns), (row, column, past) = hidden.shape[:2], texts
        context = self.context[:, None].expand(-1, columns, -1)  # (B, C, L)
        own = context.new_zeros(rows, columns, self.generated + columns)
        own[row[:, None], column[:, None], past] = True
        own[:, :, self.generated :] = torch.eye(columns, dtype=torch.bool, device=own.device)
        seen = torch.cat([context, own], dim=2)  # (B, C, positions)
        states = self.stack(
            inputs_embeds=hidden,
            attention_mask=self._masks(seen, hidden.dtype),
            position_ids=positions,
            past_key_values=self.cache,
            use_cache=True,
        ).last_hidden_state
        start, self.generated = self.generated, self.generated + columns
        return states, start

    def _masks(self, seen: Tensor, dtype: torch.dtype) -> Tensor | dict[str, Tensor]:
        """Return what is added to attention scores, (B, 1, C, positions), or that of each kind of layers.

        `seen` (B, C, positions) are the positions of each text, in its order. A sliding window holds the last of them.
        """

        def added(mask: Tensor) -> Tensor:
            return torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, torch.finfo(dtype).min)[:, None]

        config = self.stack.config
        kinds, window = set(getattr(config, "layer_types", None) or [SLIDING]), getattr(config, "sliding_window", None)
        if window is None or SLIDING not in kinds:
            return added(seen)
        from_last = seen.flip(2).cumsum(2).flip(2)  # 1 at the last position of a text, 2 at the one before
        near = added(seen & (from_last <= window))
        return near if kinds == {SLIDING} else {**dict.fromkeys(kinds, added(seen)), SLIDING: near}


class _GrowingLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """The keys and values of one layer, in buffers with spare positions: appending does not copy the whole."""

    buffers: tuple[Tensor, Tensor]
    length = 0

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append keys and values (B, heads, n, d) and return all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.buffers = key_states[:, :, :0], value_states[:, :, :0]
        start, self.length = self.length, self.length + key_states.shape[2]
        if self.length > self.buffers[0].shape[2]:
            keys, values = (_grown(buffer, start, self.length) for buffer in self.buffers)
            self.buffers = keys, values
        for buffer, new in zip(self.buffers, (key_states, value_states), strict=True):
            buffer[:, :, start : self.length] = new
        return self._show()

    def take(self, other: _GrowingLayer, part: Sequence[int], *, rows: int, longest: int) -> None:
        """Copy the keys and values of the contexts `part` from another layer, whose padding is on the left.

        At the first call, make room for `rows` contexts of up to `longest` positions.
        """
        keys, values = (buffer[:, :, : other.length] for buffer in other.buffers)
        if not self.is_initialized:
            self.lazy_initialization(keys, values)
            self.length, spare = longest, int(GROWTH * longest)
            # Zeros, as padding has no weight in attention, but is multiplied.
            self.buffers = (
                keys.new_zeros(rows, keys.shape[1], spare, keys.shape[3]),
                values.new_zeros(rows, values.shape[1], spare, values.shape[3]),
            )
        for buffer, own in zip(self.buffers, (keys, values), strict=True):
            buffer[part, :, longest - other.length : longest] = own
        self._show()

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep the contexts with these indices."""
        keys, values = self.buffers
        self.buffers = keys[indices], values[indices]
        self._show()

    def _show(self) -> tuple[Tensor, Tensor]:
        keys, values = self.buffers
        self.keys, self.values = keys[:, :, : self.length], values[:, :, : self.length]
        return self.keys, self.values


def _grown(buffer: Tensor, used: int, wanted: int) -> Tensor:
    """Return a buffer for at least `wanted` positions with the first `used` ones of a buffer (B, heads, n, d)."""
    rows, heads, _, width = buffer.shape
    larger = buffer.new_empty(rows, heads, int(GROWTH * wanted), width)
    larger[:, :, :used] = buffer[:, :, :used]
    return larger
