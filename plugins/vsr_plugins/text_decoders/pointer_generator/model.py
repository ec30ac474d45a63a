"""A text decoder that can copy words of the context. M = K * L, the tokens of the context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from vsr_cli.api import BuildContext, Decoding, Narrative, TextObjective, TokenBatch, Vocabulary
from vsr_cli.api.context_memory import WordStates, word_mask
from vsr_cli.api.generation import State, write
from vsr_cli.api.text_loss import PLAIN, answer_log_probabilities, sliced_loss

from . import CopyDecoderOptions

NEVER = -1e9
"""The logarithm of no probability: finite, so that its gradient is 0 and not undefined."""
LEAST = 1e-30
"""The least probability of copying a token: its logarithm is finite, and adds nothing to any other."""


@dataclass(frozen=True)
class Look:
    """What the decoder makes of some places of a text: any number of them, in the leading dimensions."""

    states: Tensor
    """What the vocabulary's head scores, (..., hidden)."""
    attention: Tensor
    """The log-probability of copying each token of the context, (..., M)."""
    gate: Tensor
    """How much likelier it is to write than to copy, in nats, (...)."""

    def at(self, chosen: Tensor | slice | tuple[slice, int]) -> Look:
        """Return the look at some of the places alone."""
        return Look(self.states[chosen], self.attention[chosen], self.gate[chosen])


class CopyDecoder(nn.Module):
    """The pointer-generator of See et al. (2017), "Get To The Point: Summarization with Pointer-Generator Networks".

    A GRU looks at the context's words; a token's probability is that of writing it by the vocabulary's head, plus that
    of copying it from where it stands in the context, mixed by a gate. The GRU moves first and looks then (Luong et
    al., 2015), so that a whole target is learnt from at once; therefore the coverage loss is theirs, but what is
    covered is no input of the attention.
    """

    def __init__(
        self, vocabulary: Vocabulary, *, width: int, steps: int, options: CopyDecoderOptions, objective: TextObjective
    ) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.objective = objective
        self.coverage = options.coverage
        self.length = options.length
        hidden = options.hidden or width
        embedding = options.embedding or width
        self.embedding = nn.Embedding(len(vocabulary), embedding)
        self.words = WordStates(self.embedding, width=width, steps=steps)
        self.start = nn.Linear(width, hidden)
        self.recurrent = nn.GRU(embedding, hidden, batch_first=True)
        self.query = nn.Linear(hidden, width, bias=False)
        self.joining = nn.Linear(hidden + width, hidden)
        self.gate = nn.Linear(embedding + hidden + width, 1)
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
        before = functional.pad(ids[:, :-1], (1, 0), value=self.vocabulary.bos)  # (B, T), shifted
        look, _ = self._look(before, self._first_state(narrative), self.words(narrative), self._readable(narrative))
        source = narrative.context.text_ids.flatten(1).repeat_interleave(ids.shape[1], dim=0)  # (B * T, M)
        every = look.at(torch.ones_like(ids, dtype=torch.bool))  # of the B * T places
        return self._mixed(every, source).reshape(*ids.shape, -1)

    def loss(self, narrative: Narrative, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the mean cross-entropy in nats a real token, a scalar, from targets and mask (B, T)."""
        before = functional.pad(ids[:, :-1], (1, 0), value=self.vocabulary.bos)  # (B, T), shifted
        words, readable = self.words(narrative), self._readable(narrative)
        look, _ = self._look(before, self._first_state(narrative), words, readable)
        real = look.at(mask)  # of the N real tokens
        source = narrative.context.text_ids.flatten(1)  # (B, M)
        source = source[:, None].expand_as(look.attention)[mask]  # (N, M)
        objective = self.objective if self.training else PLAIN
        if objective.is_plain:
            loss = -self._answered(real, source, ids[mask]).mean()
        else:
            loss = sliced_loss(
                lambda part: self._mixed(real.at(part), source[part]),
                ids,
                mask,
                size=len(self.vocabulary),
                objective=objective,
            )
        if self.training and self.coverage:
            loss = loss + self.coverage * _looked_again(look.attention.exp())[mask].mean()
        return loss

    def generate(self, narrative: Narrative, decoding: Decoding) -> Tensor:
        """Write a text a story: ids (B, length), up to eos, then padding."""
        return write(
            self._step,
            (self._first_state(narrative),),
            fixed=(self.words(narrative), self._readable(narrative), narrative.context.text_ids.flatten(1)),
            context=narrative.context,
            vocabulary=self.vocabulary,
            length=self.length,
            decoding=decoding,
        )

    def _step(self, tokens: Tensor, state: State, fixed: State) -> tuple[Tensor, State]:
        words, readable, source = fixed
        look, after = self._look(tokens[:, None], state[0], words, readable)
        return self._mixed(look.at((slice(None), 0)), source), (after,)

    def _first_state(self, narrative: Narrative) -> Tensor:
        return torch.tanh(self.start(narrative.summary))  # (B, D) -> (B, hidden)

    def _readable(self, narrative: Narrative) -> Tensor:
        """Say which tokens of the context may be looked at, (B, M): real ones that a text can hold."""
        special = torch.tensor(
            [self.vocabulary.pad, self.vocabulary.bos, self.vocabulary.eos], device=narrative.summary.device
        )
        return word_mask(narrative) & ~torch.isin(narrative.context.text_ids.flatten(1), special)

    def _look(self, before: Tensor, state: Tensor, words: Tensor, readable: Tensor) -> tuple[Look, Tensor]:
        """Read the tokens before each place, (B, T), on from a state (B, hidden); give it after them, too."""
        embedded = self.dropout(self.embedding(before))  # (B, T, E)
        states, after = self.recurrent(embedded, state[None])  # (B, T, hidden), (1, B, hidden)
        matched = self.query(states) @ words.transpose(1, 2) * words.shape[-1] ** -0.5  # (B, T, M)
        unread = ~readable[:, None]
        attention = matched.float().masked_fill(unread, NEVER).log_softmax(dim=-1).masked_fill(unread, NEVER)
        seen = attention.exp().to(words.dtype) @ words  # (B, T, D)
        joined = self.dropout(torch.tanh(self.joining(torch.cat([states, seen], dim=-1))))
        gate = self.gate(torch.cat([embedded, states, seen], dim=-1))[..., 0].float()  # (B, T)
        return Look(joined, attention, gate), after[0]

    def _answered(self, look: Look, source: Tensor, answers: Tensor) -> Tensor:
        """Return the log-probability (N,) of each answer (N,): what is not the answer is never mixed."""
        written = answer_log_probabilities(look.states, self.head, answers) + functional.logsigmoid(look.gate)
        copied = look.attention.masked_fill(source != answers[:, None], NEVER).logsumexp(dim=1)
        return torch.logaddexp(written, copied + functional.logsigmoid(-look.gate))

    def _mixed(self, look: Look, source: Tensor) -> Tensor:
        """Return the log-probability of every token, (n, V)."""
        written = self.head(look.states).float().log_softmax(dim=-1)
        copied = torch.zeros_like(written).scatter_add(1, source, look.attention.exp())
        copied = copied.clamp(min=LEAST).log()
        gate = look.gate[:, None]
        return torch.logaddexp(written + functional.logsigmoid(gate), copied + functional.logsigmoid(-gate))


def _looked_again(attention: Tensor) -> Tensor:
    """Return how much of each look (B, T) fell where earlier ones had, from attention (B, T, M): their equation 12."""
    covered = attention.cumsum(dim=1) - attention
    return torch.minimum(attention, covered).sum(dim=-1)


def build(options: CopyDecoderOptions, context: BuildContext) -> CopyDecoder:
    """Build the decoder over the text encoder's vocabulary, in which the context is read too."""
    assert context.vocabulary is not None, "a decoder is built after the text encoder"
    return CopyDecoder(
        context.vocabulary,
        width=context.width,
        steps=context.steps,
        options=options,
        objective=context.text_objective,
    )
