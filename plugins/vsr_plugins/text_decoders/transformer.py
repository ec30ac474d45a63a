"""Text decoder `transformer`: a causal transformer with attention to the context."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from vsr_cli.api import BuildContext, Narrative, VsrError
from vsr_cli.api.context_memory import ContextMemory
from vsr_cli.api.generation import State
from vsr_cli.api.token_decoder import StepDecoder

from . import TransformerOptions


class Layer(nn.Module):
    """Self-attention, attention to the context and a feed-forward network, each after a layer norm.

    Pre-norm, as in Xiong et al. (2020), "On Layer Normalization in the Transformer Architecture".
    """

    def __init__(self, *, hidden: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(3))
        self.own = nn.Linear(hidden, 3 * hidden)
        self.own_out = nn.Linear(hidden, hidden)
        self.query = nn.Linear(hidden, hidden)
        self.memory_out = nn.Linear(hidden, hidden)
        self.feedforward = nn.Sequential(
            nn.Linear(hidden, feedforward), nn.GELU(), nn.Dropout(dropout), nn.Linear(feedforward, hidden)
        )
        self.dropout = nn.Dropout(dropout)

    def _by_heads(self, states: Tensor, parts: int) -> Tensor:
        """Split (B, n, parts * hidden) into (B, parts, heads, n, d)."""
        return states.reshape(*states.shape[:2], parts, self.heads, -1).permute(0, 2, 3, 1, 4)

    def forward(self, states: Tensor, seen: Tensor, mask: Tensor, past: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the states after the layer, and the keys and values (B, 2, heads, n, d) of all n tokens so far.

        `states` (B, T, hidden); `seen` the keys and values (B, 2, heads, M, d) of the context, whose mask is (B, M);
        `past` the keys and values of the tokens before these. With `past` there is one token, which attends to all.
        """
        query, *own = self._by_heads(self.own(self.norms[0](states)), 3).unbind(1)  # each (B, heads, T, d)
        cache = torch.stack(own, dim=1)  # (B, 2, heads, T, d)
        if past is not None:
            cache = torch.cat([past, cache], dim=3)
        read = functional.scaled_dot_product_attention(query, cache[:, 0], cache[:, 1], is_causal=past is None)
        states = states + self.dropout(self.own_out(_joined(read)))
        query = self._by_heads(self.query(self.norms[1](states)), 1)[:, 0]  # (B, heads, T, d)
        read = functional.scaled_dot_product_attention(query, seen[:, 0], seen[:, 1], attn_mask=mask[:, None, None])
        states = states + self.dropout(self.memory_out(_joined(read)))
        return states + self.dropout(self.feedforward(self.norms[2](states))), cache


def _joined(read: Tensor) -> Tensor:
    return read.transpose(1, 2).flatten(2)  # (B, heads, T, d) -> (B, T, hidden)


class TransformerDecoder(StepDecoder):
    """The decoder of Vaswani et al. (2017), "Attention Is All You Need", with learned positions and pre-norm layers.

    Raises VsrError if the number of heads does not divide the width of the hidden states.
    """

    def __init__(self, options: TransformerOptions, context: BuildContext) -> None:
        super().__init__(context.vocabulary, length=options.length, objective=context.text_objective)
        width = context.width
        hidden = options.hidden or width
        if hidden % options.heads:
            raise VsrError(
                f"text decoder transformer: text_decoder.heads={options.heads} does not divide the width of the hidden "
                f"states ({hidden}); change it or text_decoder.hidden"
            )
        self.scale = math.sqrt(hidden)
        self.embedding = nn.Embedding(len(self.vocabulary), hidden)
        nn.init.normal_(self.embedding.weight, std=1 / self.scale)
        self.positions = nn.Parameter(0.02 * torch.randn(options.length, hidden))
        self.memory = ContextMemory(width=width, steps=context.steps, words=self.embedding)
        self.heads = options.heads
        self.keys = nn.Linear(width, options.layers * 2 * hidden)
        self.layers = nn.ModuleList(
            Layer(
                hidden=hidden,
                heads=options.heads,
                feedforward=options.feedforward * hidden,
                dropout=options.dropout,
            )
            for _ in range(options.layers)
        )
        self.norm = nn.LayerNorm(hidden)
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear(hidden, len(self.vocabulary))
        self.head.weight = self.embedding.weight

    def loss(self, narrative: Narrative, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the mean cross-entropy in nats per real token, a scalar, from targets and mask (B, T)."""
        states = self._embedded(self._shift_right(ids), first=0)
        seen, seen_mask = self._memory_keys(narrative)
        for number, layer in enumerate(self.layers):
            states, _ = layer(states, seen[:, number], seen_mask)
        return self._head_loss(self.norm(states), ids, mask)

    def _start(self, narrative: Narrative) -> tuple[State, State]:
        """Return the keys and values of no token yet (B, layers, 2, heads, 0, d), and of the context with its mask."""
        seen, mask = self._memory_keys(narrative)
        return (seen[:, :, :, :, :0],), (seen, mask)

    def _step(self, tokens: Tensor, state: State, fixed: State) -> tuple[Tensor, State]:
        past, (seen, mask) = state[0], fixed
        states = self._embedded(tokens[:, None], first=past.shape[-2])  # (R, 1, hidden)
        cache = []
        for number, layer in enumerate(self.layers):
            states, own = layer(states, seen[:, number], mask, past[:, number])
            cache.append(own)
        return self.head(self.norm(states[:, 0])), (torch.stack(cache, dim=1),)

    def _embedded(self, tokens: Tensor, *, first: int) -> Tensor:
        """Embed tokens (B, n) at the positions from `first` on."""
        embedded: Tensor = self.dropout(
            self.scale * self.embedding(tokens) + self.positions[first : first + tokens.shape[1]]
        )
        return embedded

    def _memory_keys(self, narrative: Narrative) -> tuple[Tensor, Tensor]:
        """Return each layer's keys and values of the context, (B, layers, 2, heads, M, d), and the mask (B, M)."""
        memory, mask = self.memory(narrative)  # (B, M, D), (B, M)
        keys = self.keys(memory).reshape(*mask.shape, len(self.layers), 2, self.heads, -1)
        return keys.permute(0, 2, 3, 4, 1, 5), mask
