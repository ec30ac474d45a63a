"""Generation of several texts for each context by a language model, with one key-value cache per context.

Shapes: B contexts, R texts that are generated together, L positions of a context, t tokens that a text has so far, S
positions of a row, M vectors of a story, E width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache, DynamicLayer

from vsr_cli.api import VsrError

from .lm_cache import ContextsLayer, TextsLayer
from .lm_model import UNUSABLE, LanguageModel, insert, passes
from .shared_attention import Places, is_shared

WINDOWS = ("sliding_window", "window_size", "local_attention", "attention_chunk_size")
"""Settings of local attention in the architectures of transformers."""
SLIDING = "sliding_attention"
"""A kind of layers in the architectures of transformers; without a list of kinds, all layers are of the same."""


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
    """A stack of layers with its key-value cache: of the contexts, padded on the left, and of the texts' own tokens.

    Texts are rows that share their context's keys and values, where attention can do so. Elsewhere the texts of a
    context are the query positions of one row, and a mask tells which of the cached tokens are a text's own: that
    copies nothing either, but compares each text with the tokens of all.
    """

    def __init__(self, stack: Any, positions: Sequence[Tensor]) -> None:
        self.stack, self.positions = stack, positions
        self.layers: Sequence[TextsLayer | ContextsLayer] = []
        self.context: Tensor  # (B, L): where the context is real
        self.past: Tensor | None = None  # (R, t): where each text's own tokens are behind the context, if in one row

    def prefill(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Encode the contexts (S, E) of different lengths; return the states (S, E) of each."""
        longest = max(len(each) for each in inputs)
        left = [longest - len(each) for each in inputs]
        device = inputs[0].device
        self.context = torch.arange(longest, device=device) >= torch.tensor(left, device=device)[:, None]
        states: dict[int, Tensor] = {}
        contexts: list[list[Tensor]] = []
        for part in passes(inputs):
            size = max(len(inputs[row]) for row in part)
            gaps = {row: size - len(inputs[row]) for row in part}
            layers: list[Any] = [DynamicLayer() for _ in range(self.stack.config.num_hidden_layers)]  # type: ignore[no-untyped-call]
            found = self.stack(
                inputs_embeds=torch.stack(
                    [nn.functional.pad(inputs[row], (0, 0, gap, 0)) for row, gap in gaps.items()]
                ),
                attention_mask=self.context[part, longest - size :].long(),
                position_ids=torch.stack(
                    [nn.functional.pad(self.positions[row], (gap, 0)) for row, gap in gaps.items()]
                ),
                past_key_values=Cache(layers=layers),
                use_cache=True,
            ).last_hidden_state
            states |= {row: own[gap:] for own, (row, gap) in zip(found, gaps.items(), strict=True)}
            of_part = [[each.keys, each.values] for each in layers]
            # Zeros, as padding has no weight in attention, but is multiplied.
            contexts = contexts or [
                [each.new_zeros(len(inputs), each.shape[1], longest, each.shape[3]) for each in both]
                for both in of_part
            ]
            for both, new in zip(contexts, of_part, strict=True):
                for context, each in zip(both, new, strict=True):
                    context[part, :, longest - size :] = each
        kind = TextsLayer if is_shared(self.stack) else ContextsLayer
        self.layers = [kind(both) for both in contexts]
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
            layer.select(places, continued=continued, chosen=chosen)
        sharing = [layer for layer in self.layers if isinstance(layer, TextsLayer)]
        if not sharing:
            return self._run_contexts(hidden, positions, places, continued=continued)
        written = sharing[0].written
        try:
            return self._run_texts(hidden, positions, places)
        except UNUSABLE as error:  # first token: an architecture that computes keys or values from what is cached
            if written or isinstance(error, torch.OutOfMemoryError):
                raise
            self.layers = [ContextsLayer(layer.contexts) for layer in sharing]
            return self._run_contexts(hidden, positions, places, continued=continued)

    def _run_texts(self, hidden: Tensor, positions: Tensor, places: Places) -> Tensor:
        """Run texts (R, 1, E) that share their contexts."""
        seen = nn.functional.pad(self.context, (0, self.layers[0].written + 1), value=True)  # (B, L + t)
        return self._run(hidden, positions, seen[places.context, None])

    def _run_contexts(self, hidden: Tensor, positions: Tensor, places: Places, *, continued: Tensor | None) -> Tensor:
        """Run texts (R, 1, E), which were `continued`, as the query positions of one row per context."""
        written, texts = self.layers[0].written, places.texts
        last = written + places.index[:, None]
        if self.past is not None:
            last = torch.cat([self.past if continued is None else self.past[continued], last], dim=1)
        self.past = last
        own = self.context.new_zeros(len(self.context), texts, written + texts)
        own[places.context[:, None], places.index[:, None], self.past] = True
        seen = torch.cat([self.context[:, None].expand(-1, texts, -1), own], dim=2)  # (B, C, L + written + C)
        states = self._run(
            places.spread(hidden[:, None])[:, 0], places.spread(positions[:, None, None])[:, 0, :, 0], seen
        )
        return places.collect(states[:, None])[:, 0]

    def _run(self, hidden: Tensor, positions: Tensor, seen: Tensor) -> Tensor:
        """Run rows (N, n, E) at positions (N, n), each of which attends to the P positions that it has `seen`."""
        states: Tensor = self.stack(
            inputs_embeds=hidden,
            attention_mask=self._masks(seen, hidden.dtype),
            position_ids=positions,
            past_key_values=Cache(layers=list[Any](self.layers)),
            use_cache=True,
        ).last_hidden_state
        return states

    def _masks(self, seen: Tensor, dtype: torch.dtype) -> Tensor | dict[str, Tensor]:
        """Return what is added to attention scores, (N, 1, n, P), or that of each kind of layers.

        `seen` (N, n, P) are the positions of each text, in its order. A sliding window holds the last of them.
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
