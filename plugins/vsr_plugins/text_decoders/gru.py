"""Text decoders `gru` and `attention-gru`: a GRU that starts from the summary, without and with attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from vsr_cli.api import BuildContext, Narrative
from vsr_cli.api.context_memory import ContextMemory
from vsr_cli.api.generation import State
from vsr_cli.api.recurrence import run_recurrent
from vsr_cli.api.token_decoder import StepDecoder

from . import AttentionGruOptions, GruOptions


class GruDecoder(StepDecoder):
    """Embedding, GRU and vocabulary head; the first state of the GRU is a projection of the summary.

    The sequence-to-sequence decoder of Cho et al. (2014), "Learning Phrase Representations using RNN
    Encoder-Decoder for Statistical Machine Translation".
    """

    def __init__(self, options: GruOptions, context: BuildContext) -> None:
        super().__init__(context.vocabulary, length=options.length, objective=context.text_objective)
        width = context.width
        hidden = options.hidden or width
        self.layers = options.layers
        self.embedding = nn.Embedding(len(self.vocabulary), options.embedding or width)
        self.start = nn.Linear(width, options.layers * hidden)
        self.recurrent = _gru(options, hidden=hidden, embedding=options.embedding or width)
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear(hidden, len(self.vocabulary))

    def logits(self, narrative: Narrative, ids: Tensor) -> Tensor:
        """Return scores of every token at every position (B, T, V); each position reads only targets before it."""
        scores: Tensor = self.head(self._states(narrative, ids))  # (B, T, hidden) -> (B, T, V)
        return scores

    def loss(self, narrative: Narrative, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the mean cross-entropy in nats per real token, a scalar, from targets and mask (B, T)."""
        return self._head_loss(self._states(narrative, ids), ids, mask)

    def begin(self, narrative: Narrative) -> tuple[State, State]:
        """Return the first state (B, layers, hidden); nothing else is read."""
        return (first_state(self.start, narrative, layers=self.layers).transpose(0, 1),), ()

    def _step(self, tokens: Tensor, state: State, fixed: State) -> tuple[Tensor, State]:
        before = state[0].transpose(0, 1).contiguous()  # (R, layers, hidden) -> (layers, R, hidden)
        output, after = run_recurrent(self.recurrent, self.dropout(self.embedding(tokens[:, None])), before)
        return self.head(self.dropout(output[:, 0])), (after.transpose(0, 1),)  # (R, 1, hidden) -> (R, V)

    def _states(self, narrative: Narrative, ids: Tensor) -> Tensor:
        embedded = self.dropout(self.embedding(self._shift_right(ids)))
        first = first_state(self.start, narrative, layers=self.layers)
        states, _ = run_recurrent(self.recurrent, embedded, first)
        dropped: Tensor = self.dropout(states)  # (B, T, hidden)
        return dropped


class Attention(nn.Module):
    """Attention from the states of the decoder to the context.

    The product is Luong et al.'s (2015), "Effective Approaches to Attention-based Neural Machine Translation" (their
    "general" score); the additive score is Bahdanau et al.'s (2015), "Neural Machine Translation by Jointly Learning to
    Align and Translate".
    """

    def __init__(self, *, hidden: int, width: int, additive: bool) -> None:
        super().__init__()
        self.query = nn.Linear(hidden, width, bias=False)
        self.key = nn.Linear(width, width) if additive else None
        self.match = nn.Linear(width, 1, bias=False) if additive else None

    def forward(self, states: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """Return attended values (B, T, D) from states (B, T, hidden), memory (B, M, D) and mask (B, M)."""
        query = self.query(states)  # (B, T, hidden) -> (B, T, D)
        if self.key is None or self.match is None:
            return functional.scaled_dot_product_attention(query, memory, memory, attn_mask=mask[:, None])
        matched = torch.tanh(query[:, :, None] + self.key(memory)[:, None])  # (B, T, M, D)
        scores = self.match(matched)[..., 0].masked_fill(~mask[:, None], float("-inf"))  # (B, T, M)
        attended: Tensor = scores.softmax(dim=-1) @ memory  # (B, T, D)
        return attended


class AttentionGruDecoder(StepDecoder):
    """Embedding, GRU, attention to the context, and a vocabulary head over the state and the attended value.

    In Luong et al.'s order, the GRU steps before it attends, so that all positions of a target train in parallel.
    """

    def __init__(self, options: AttentionGruOptions, context: BuildContext) -> None:
        super().__init__(context.vocabulary, length=options.length, objective=context.text_objective)
        width = context.width
        hidden = options.hidden or width
        self.layers = options.layers
        self.embedding = nn.Embedding(len(self.vocabulary), options.embedding or width)
        self.memory = ContextMemory(width=width, steps=context.steps, words=self.embedding)
        self.start = nn.Linear(width, options.layers * hidden)
        self.recurrent = _gru(options, hidden=hidden, embedding=options.embedding or width)
        self.attention = Attention(hidden=hidden, width=width, additive=options.score == "additive")
        self.joining = nn.Linear(hidden + width, hidden)
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear(hidden, len(self.vocabulary))

    def loss(self, narrative: Narrative, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the mean cross-entropy in nats per real token, a scalar, from targets and mask (B, T)."""
        embedded = self.dropout(self.embedding(self._shift_right(ids)))
        states, _ = run_recurrent(self.recurrent, embedded, first_state(self.start, narrative, layers=self.layers))
        return self._head_loss(self._join(states, *self.memory(narrative)), ids, mask)

    def begin(self, narrative: Narrative) -> tuple[State, State]:
        """Return the first state (B, layers, hidden), and the memory (B, M, D) with its mask (B, M)."""
        first = first_state(self.start, narrative, layers=self.layers).transpose(0, 1)
        return (first,), self.memory(narrative)

    def _step(self, tokens: Tensor, state: State, fixed: State) -> tuple[Tensor, State]:
        before = state[0].transpose(0, 1).contiguous()  # (R, layers, hidden) -> (layers, R, hidden)
        embedded = self.dropout(self.embedding(tokens[:, None]))
        states, after = run_recurrent(self.recurrent, embedded, before)  # (R, 1, hidden)
        memory, mask = fixed
        return self.head(self._join(states, memory, mask))[:, 0], (after.transpose(0, 1),)

    def _join(self, states: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        attended = self.attention(states, memory, mask)  # (B, T, D)
        joined: Tensor = self.dropout(torch.tanh(self.joining(torch.cat([states, attended], dim=-1))))
        return joined  # (B, T, hidden)


def _gru(options: GruOptions, *, hidden: int, embedding: int) -> nn.GRU:
    # PyTorch applies this dropout between layers only, and warns if there is a single one.
    between = options.dropout if options.layers > 1 else 0.0
    return nn.GRU(embedding, hidden, options.layers, batch_first=True, dropout=between)


def first_state(start: nn.Linear, narrative: Narrative, *, layers: int) -> Tensor:
    """Return the GRU's first state, (layers, B, hidden), from the summary."""
    state: Tensor = torch.tanh(start(narrative.summary))  # (B, D) -> (B, layers * hidden)
    return state.reshape(len(state), layers, -1).transpose(0, 1).contiguous()  # -> (layers, B, hidden)
