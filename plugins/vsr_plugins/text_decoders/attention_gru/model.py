"""A recurrent text decoder that looks back at the context while it writes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from vsr_cli.api import BuildContext, Decoding, Narrative, TextObjective, TokenBatch, Vocabulary
from vsr_cli.api.context_memory import ContextMemory
from vsr_cli.api.generation import State, write
from vsr_cli.api.text_loss import PLAIN, head_loss

from . import AttentionGruOptions


class Attention(nn.Module):
    """Says which places of the context a state of the decoder looks at.

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
        """Return what is seen, (B, T, D), from states (B, T, hidden), memory (B, M, D) and mask (B, M)."""
        query = self.query(states)  # (B, T, hidden) -> (B, T, D)
        if self.key is None or self.match is None:
            return functional.scaled_dot_product_attention(query, memory, memory, attn_mask=mask[:, None])
        matched = torch.tanh(query[:, :, None] + self.key(memory)[:, None])  # (B, T, M, D)
        scores = self.match(matched)[..., 0].masked_fill(~mask[:, None], float("-inf"))  # (B, T, M)
        seen: Tensor = scores.softmax(dim=-1) @ memory  # (B, T, D)
        return seen


class AttentionGru(nn.Module):
    """Embedding, GRU, attention to the context, and a vocabulary head over the state and what was seen together.

    Luong et al.'s order: the GRU moves first and looks then, so that a whole target is learnt from at once.
    """

    def __init__(
        self, vocabulary: Vocabulary, *, width: int, steps: int, options: AttentionGruOptions, objective: TextObjective
    ) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.objective = objective
        self.length = options.length
        self.layers = options.layers
        hidden = options.hidden or width
        embedding = options.embedding or width
        self.embedding = nn.Embedding(len(vocabulary), embedding)
        self.memory = ContextMemory(width=width, steps=steps, words=self.embedding if options.words else None)
        self.start = nn.Linear(width, options.layers * hidden)
        between = options.dropout if options.layers > 1 else 0.0  # PyTorch warns of a dropout between no layers
        self.recurrent = nn.GRU(embedding, hidden, options.layers, batch_first=True, dropout=between)
        self.attention = Attention(hidden=hidden, width=width, additive=options.score == "additive")
        self.joining = nn.Linear(hidden + width, hidden)
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear(hidden, len(vocabulary))

    def tokenize(self, texts: Sequence[str]) -> TokenBatch:
        """Return target ids and mask (N, T): ending in eos unless cut, without bos."""
        return self.vocabulary.encode_targets(texts, length=self.length)

    def detokenize(self, ids: Tensor) -> list[str]:
        """Return the text of each row of ids (B, T), up to its first eos."""
        return self.vocabulary.decode(ids)

    def loss(self, narrative: Narrative, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the mean cross-entropy in nats a real token, a scalar, from targets and mask (B, T)."""
        before = functional.pad(ids[:, :-1], (1, 0), value=self.vocabulary.bos)  # (B, T), shifted
        states, _ = self.recurrent(self.dropout(self.embedding(before)), self._first_state(narrative))
        joined = self._join(states, *self.memory(narrative))  # (B, T, hidden)
        return head_loss(joined, self.head, ids, mask, objective=self.objective if self.training else PLAIN)

    def generate(self, narrative: Narrative, decoding: Decoding) -> Tensor:
        """Write a text a story: ids (B, length), up to eos, then padding."""
        return write(
            self._step,
            (self._first_state(narrative).transpose(0, 1),),  # (layers, B, hidden) -> (B, layers, hidden)
            fixed=self.memory(narrative),
            context=narrative.context,
            vocabulary=self.vocabulary,
            length=self.length,
            decoding=decoding,
        )

    def _step(self, tokens: Tensor, state: State, fixed: State) -> tuple[Tensor, State]:
        before = state[0].transpose(0, 1).contiguous()  # (R, layers, hidden) -> (layers, R, hidden)
        states, after = self.recurrent(self.dropout(self.embedding(tokens[:, None])), before)  # (R, 1, hidden)
        memory, mask = fixed
        return self.head(self._join(states, memory, mask))[:, 0], (after.transpose(0, 1),)

    def _first_state(self, narrative: Narrative) -> Tensor:
        state: Tensor = torch.tanh(self.start(narrative.summary))  # (B, D) -> (B, layers * hidden)
        layers = state.reshape(len(state), self.layers, -1)  # -> (B, layers, hidden)
        return layers.transpose(0, 1).contiguous()  # -> (layers, B, hidden)

    def _join(self, states: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        seen = self.attention(states, memory, mask)  # (B, T, D)
        joined: Tensor = self.dropout(torch.tanh(self.joining(torch.cat([states, seen], dim=-1))))
        return joined  # (B, T, hidden)


def build(options: AttentionGruOptions, context: BuildContext) -> AttentionGru:
    """Build the decoder over the text encoder's vocabulary."""
    assert context.vocabulary is not None, "a decoder is built after the text encoder"
    return AttentionGru(
        context.vocabulary,
        width=context.width,
        steps=context.steps,
        options=options,
        objective=context.text_objective,
    )
