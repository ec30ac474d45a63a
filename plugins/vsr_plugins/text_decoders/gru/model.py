"""A recurrent text decoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from vsr_cli.api import BuildContext, Decoding, Narrative, TextObjective, TokenBatch, Vocabulary
from vsr_cli.api.generation import State, write
from vsr_cli.api.text_loss import PLAIN, head_loss

from . import GruDecoderOptions


class GruDecoder(nn.Module):
    """Embedding, GRU and vocabulary head; the GRU's first state is the narrative summary.

    The sequence-to-sequence decoder of Cho et al. (2014), "Learning Phrase Representations using RNN
    Encoder-Decoder for Statistical Machine Translation".
    """

    def __init__(
        self, vocabulary: Vocabulary, *, width: int, options: GruDecoderOptions, objective: TextObjective
    ) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.objective = objective
        self.length = options.length
        self.layers = options.layers
        hidden = options.hidden or width
        embedding = options.embedding or width
        self.embedding = nn.Embedding(len(vocabulary), embedding)
        self.start = nn.Linear(width, options.layers * hidden)
        # PyTorch's own dropout lies between layers only, and warns where there is but one.
        between = options.dropout if options.layers > 1 else 0.0
        self.recurrent = nn.GRU(embedding, hidden, options.layers, batch_first=True, dropout=between)
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear(hidden, len(vocabulary))

    def tokenize(self, texts: Sequence[str]) -> TokenBatch:
        """Return target ids and mask (N, T): ending in eos unless cut, without bos."""
        return self.vocabulary.encode_targets(texts, length=self.length)

    def detokenize(self, ids: Tensor) -> list[str]:
        """Return the text of each row of ids (B, T), up to its first eos."""
        return self.vocabulary.decode(ids)

    def logits(self, narrative: Narrative, ids: Tensor) -> Tensor:
        """Score every token at every place (B, T, V); each place reads only the targets (B, T) before it."""
        scores: Tensor = self.head(self._states(narrative, ids))  # (B, T, hidden) -> (B, T, V)
        return scores

    def loss(self, narrative: Narrative, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the mean cross-entropy in nats a real token, a scalar, from targets and mask (B, T)."""
        objective = self.objective if self.training else PLAIN
        return head_loss(self._states(narrative, ids), self.head, ids, mask, objective=objective)

    def generate(self, narrative: Narrative, decoding: Decoding) -> Tensor:
        """Write a text a story: ids (B, length), up to eos, then padding."""
        state = self._first_state(narrative).transpose(0, 1)  # (layers, B, hidden) -> (B, layers, hidden)
        return write(
            self._step,
            (state,),
            context=narrative.context,
            vocabulary=self.vocabulary,
            length=self.length,
            decoding=decoding,
        )

    def _step(self, tokens: Tensor, state: State, fixed: State) -> tuple[Tensor, State]:
        before = state[0].transpose(0, 1).contiguous()  # (R, layers, hidden) -> (layers, R, hidden)
        output, after = self.recurrent(self.dropout(self.embedding(tokens[:, None])), before)
        return self.head(self.dropout(output[:, 0])), (after.transpose(0, 1),)  # (R, 1, hidden) -> (R, V)

    def _first_state(self, narrative: Narrative) -> Tensor:
        state: Tensor = torch.tanh(self.start(narrative.summary))  # (B, D) -> (B, layers * hidden)
        layers = state.reshape(len(state), self.layers, -1)  # -> (B, layers, hidden)
        return layers.transpose(0, 1).contiguous()  # -> (layers, B, hidden)

    def _states(self, narrative: Narrative, ids: Tensor) -> Tensor:
        before = functional.pad(ids[:, :-1], (1, 0), value=self.vocabulary.bos)  # (B, T), shifted
        states: Tensor = self.recurrent(self.dropout(self.embedding(before)), self._first_state(narrative))[0]
        dropped: Tensor = self.dropout(states)  # (B, T, hidden)
        return dropped


def build(options: GruDecoderOptions, context: BuildContext) -> GruDecoder:
    """Build the decoder over the text encoder's vocabulary."""
    assert context.vocabulary is not None, "a decoder is built after the text encoder"
    return GruDecoder(context.vocabulary, width=context.width, options=options, objective=context.text_objective)
