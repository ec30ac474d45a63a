"""Generation of several texts for each context by a language model, with one key-value cache per context.

Shapes: B contexts, R texts that are generated together, L positions of a context, t tokens that a text has so far, S
positions of a row, M vectors of a story, E width, G heads of keys and values, d width of a head, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache, DynamicLayer

from vsr_cli.api import VsrError

from .lm_model import UNUSABLE, LanguageModel, insert, passes
from .shared_attention import CONTEXT, Places, SharedContext, is_shared

WINDOWS = ("sliding_window", "window_size", "local_attention", "attention_chunk_size")
"""Settings of local attention in the architectures of transformers."""
SLIDING = "sliding_attention"
"""A kind of layers in the architectures of transformers; without a list of kinds, all layers are of the same."""
GROWTH = 16
"""Tokens by which a full cache grows, so that most steps copy nothing."""


class Generation:
    """The state of generating several texts for each of B contexts, which are encoded once.

    The texts of a story share the cached keys and values of its context, and each has those of its own tokens.
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
        self.rows = len(rows)
        self.written = -1
        """Tokens of each text in the cache; -1 before the context's own scores were read."""

    def start(self) -> tuple[Tensor, Tensor]:
        """Return the state before the first token: of each text its story, and its row in the step before, (B,)."""
        return self.stories, self.stories

    def step(self, tokens: Tensor, state: tuple[Tensor, ...], fixed: tuple[Tensor, ...]) -> tuple[Tensor, Any]:
        """Return scores (R, V) of the tokens after `tokens` (R,), and the new state.

        The texts of a story are neighbors. A text that is left out of R is not continued.
        """
        story, before = state  # (R,), (R,)
        here = torch.arange(len(story), device=story.device)
        if self.written < 0:
            self.written = 0
            return self.first[story].clone(), (story, here)
        unchanged = len(here) == self.rows and torch.equal(before, here)
        continued = before if self.written and not unchanged else None
        stories, context, count = torch.unique_consecutive(story, return_inverse=True, return_counts=True)
        places = Places.of(context, count)
        chosen = None if len(stories) == len(self.stories) else torch.searchsorted(self.stories, stories)
        self.stories, self.rows = stories, len(story)
        positions = (self.lengths[story] + self.written)[:, None]
        hidden = self.language.embeddings(tokens)[:, None]
        for stack in self.stacks:
            hidden = stack.extend(hidden, positions, places, continued=continued, chosen=chosen)
        self.written += 1
        return self.language.scores(hidden[:, 0]), (story, here)


@torch.no_grad()
def verify_generation(language: LanguageModel, *, longest: int) -> None:
    """Raise VsrError if two texts that are generated token by token get other scores than as whole rows.

    If attention looks back on fewer tokens than the longest row has, `longest`, the rows here have more than that.
    """
    window = min(_windows(language.model.config.get_text_config()), default=longest)
    context = torch.arange(1, 4 + (window if window < longest else 0)) % language.embeddings.num_embeddings
    texts, last = torch.tensor([[1, 2], [3, 1]]), torch.tensor([-1])
    vectors = language.embeddings.weight.new_zeros(1, 0, language.width)
    rows = [torch.cat([context, text]) for text in texts]
    try:
        with _single_precision(language.model):
            wanted = language.scores(language.states(rows, vectors.float().expand(2, -1, -1), [last, last]))
            generation = Generation(language, [context], vectors.float())
            state = tuple(each.repeat_interleave(2, dim=0) for each in generation.start())
            for tokens in (texts[:, 0], *texts.T):  # the first call needs no token: the context's own scores answer it
                scores, state = generation.step(tokens, state, ())
    except UNUSABLE as error:
        raise VsrError("its architecture does not generate with a key-value cache of several texts") from error
    if not torch.allclose(scores, wanted, rtol=1e-2, atol=1e-2 * float(scores.std())):
        raise VsrError("its architecture gives other scores token by token than for a whole text")


@contextmanager
def _single_precision(model: nn.Module) -> Iterator[None]:
    """Compute in single precision: rounding in bfloat16 differs as much as scores of a wrong architecture do."""
    halves = [(each, each.dtype) for each in model.parameters() if each.dtype in (torch.float16, torch.bfloat16)]
    for parameter, _ in halves:
        parameter.data = parameter.data.float()
    try:
        yield
    finally:
        for parameter, dtype in halves:
            parameter.data = parameter.data.to(dtype)  # the same numbers as before


def _windows(config: Any) -> list[int]:
    """Return on how many tokens the layers of an architecture with local attention look back."""
    return [size for name in WINDOWS if isinstance(size := getattr(config, name, None), int) and size > 0]


class _Stack:
    """A stack of layers with its key-value cache: of the contexts, padded on the left, and of the texts' own tokens."""

    def __init__(self, stack: Any, positions: Sequence[Tensor]) -> None:
        self.stack, self.positions = stack, positions
        shared = is_shared(stack)
        self.layers = [_Layer(shared=shared) for _ in range(stack.config.num_hidden_layers)]
        self.cache = Cache(layers=list[Any](self.layers))
        self.context: Tensor  # (B, L): where the context is real

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
            cache = Cache(layers=[DynamicLayer() for _ in self.layers])  # type: ignore[no-untyped-call]
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
            for layer, of_part in zip(self.layers, cache.layers, strict=True):
                layer.take(of_part, part, rows=len(inputs), longest=longest)
        return [states[row] for row in range(len(inputs))]

    def extend(
        self, hidden: Tensor, positions: Tensor, places: Places, *, continued: Tensor | None, chosen: Tensor | None
    ) -> Tensor:
        """Run one token of each text, (R, 1, E) at positions (R, 1); return the states (R, 1, E).

        `continued` (R,) are the texts among those of the step before, and `chosen` (B,) the contexts, if others.
        """
        if chosen is not None:
            self.context = self.context[chosen]
        for layer in self.layers:
            layer.prepare(places, continued=continued, chosen=chosen)
        if self.layers[0].written:
            return self._run(hidden, positions, places)
        try:
            return self._run(hidden, positions, places)
        except UNUSABLE:  # an architecture that computes keys or values from what is cached
            for layer in self.layers:
                layer.do_not_share()
            return self._run(hidden, positions, places)

    def _run(self, hidden: Tensor, positions: Tensor, places: Places) -> Tensor:
        seen = nn.functional.pad(self.context, (0, self.layers[0].written + 1), value=True)  # (B, L + t)
        states: Tensor = self.stack(
            inputs_embeds=hidden,
            attention_mask=self._masks(seen, hidden.dtype, places.context),
            position_ids=positions,
            past_key_values=self.cache,
            use_cache=True,
        ).last_hidden_state
        return states

    def _masks(self, seen: Tensor, dtype: torch.dtype, context: Tensor) -> Tensor | dict[str, Tensor]:
        """Return what is added to attention scores, (R, 1, 1, L + t), or that of each kind of layers.

        `seen` (B, L + t) are the positions of the texts of a context, in their order, and `context` (R,) is that of
        each text. A sliding window holds the last positions.
        """

        def added(mask: Tensor) -> Tensor:
            values = torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, torch.finfo(dtype).min)
            return values[context, None, None]

        config = self.stack.config
        kinds, window = set(getattr(config, "layer_types", None) or [SLIDING]), getattr(config, "sliding_window", None)
        if window is None or SLIDING not in kinds:
            return added(seen)
        from_last = seen.flip(1).cumsum(1).flip(1)  # 1 at the last position of a text, 2 at the one before
        near = added(seen & (from_last <= window))
        return near if kinds == {SLIDING} else {**dict.fromkeys(kinds, added(seen)), SLIDING: near}


class _Layer(DynamicLayer):  # type: ignore[no-untyped-call]
    """The keys and values of one layer: of B contexts (B, G, L, d), and of the own tokens of R texts (R, G, t, d)."""

    contexts: list[Tensor]
    places: Places

    def __init__(self, *, shared: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.shared = shared
        self.buffers: list[Tensor] = []  # of the texts' own tokens, with spare positions
        self.written = 0

    def take(self, other: Any, part: Sequence[int], *, rows: int, longest: int) -> None:
        """Copy the keys and values of the contexts `part` from a layer of transformers, whose padding is on the left.

        At the first call, make room for `rows` contexts of up to `longest` positions.
        """
        new = [other.keys, other.values]
        if not self.is_initialized:
            self.lazy_initialization(*new)
            # Zeros, as padding has no weight in attention, but is multiplied.
            self.contexts = [each.new_zeros(rows, each.shape[1], longest, each.shape[3]) for each in new]
        for context, each in zip(self.contexts, new, strict=True):
            context[part, :, longest - each.shape[2] :] = each

    def prepare(self, places: Places, *, continued: Tensor | None, chosen: Tensor | None) -> None:
        """Keep the texts `continued` and the contexts `chosen`, if not all of them, in this order."""
        self.places = places
        if continued is not None:
            self.buffers = [_room(each[continued, :, : self.written]) for each in self.buffers]
        if chosen is not None:
            self.contexts = [each[chosen] for each in self.contexts]

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append a token's keys and values (R, G, 1, d); return the texts' own, or those of their contexts as well."""
        new = [key_states, value_states]
        if not self.buffers or self.written == self.buffers[0].shape[2]:
            self.buffers = [_room(each) for each in self.buffers or [each[:, :, :0] for each in new]]
        self.written += 1
        for buffer, each in zip(self.buffers, new, strict=True):
            buffer[:, :, self.written - 1 : self.written] = each
        own = [buffer[:, :, : self.written] for buffer in self.buffers]
        if self.shared:
            keys, values = self.contexts
            setattr(own[0], CONTEXT, SharedContext(keys, values, self.places, own[1]))
        else:
            copies = [each[self.places.context] for each in self.contexts]
            own = [torch.cat(both, dim=2) for both in zip(copies, own, strict=True)]
        return own[0], own[1]

    def do_not_share(self) -> None:
        """Begin again before the texts' first token, with keys and values of a context for each text."""
        self.shared, self.buffers, self.written = False, [], 0

    def get_seq_length(self) -> int:
        """Return the positions of a text, with its context."""
        return self.contexts[0].shape[2] + self.written


def _room(tokens: Tensor) -> Tensor:
    """Return a buffer that begins with keys or values (R, G, t, d) and has `GROWTH` positions more."""
    rows, heads, count, width = tokens.shape
    larger = tokens.new_empty(rows, heads, count + GROWTH, width)
    larger[:, :, :count] = tokens
    return larger
