"""Text decoder `pointer-generator`: a GRU that generates words or copies them from the context.

M = K * L is the number of tokens of the context.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from vsr_cli.api import BuildContext, Narrative
from vsr_cli.api.context_memory import WordStates, word_mask
from vsr_cli.api.generation import State
from vsr_cli.api.recurrence import run_recurrent
from vsr_cli.api.text_loss import answer_log_probabilities, sliced_loss
from vsr_cli.api.token_decoder import StepDecoder

from . import PointerGeneratorOptions

NEVER = -1e9
"""Log-probability of a masked token: finite, so that its gradient is 0 and not NaN."""
LEAST = 1e-30
"""Lower bound of the probability of copying a token, so that its logarithm is finite."""


@dataclass(frozen=True)
class Outputs:
    """The outputs of the decoder at some positions of a text; leading dimensions (...) are positions."""

    states: Tensor
    """Inputs of the vocabulary head, (..., hidden)."""
    attention: Tensor
    """The log-probability of copying each token of the context, (..., M)."""
    gate: Tensor
    """Log-odds of generating instead of copying, in nats, (...)."""

    def at(self, chosen: Tensor | slice | tuple[slice, int] | tuple[Tensor, ...]) -> Outputs:
        """Return the outputs at some of the positions."""
        return Outputs(self.states[chosen], self.attention[chosen], self.gate[chosen])


class PointerGeneratorDecoder(StepDecoder):
    """The pointer-generator of See et al. (2017), "Get To The Point: Summarization with Pointer-Generator Networks".

    A GRU attends to the context's words; the probability of a token mixes, by a gate, that of generating it with the
    vocabulary head and that of copying it from the context. The GRU steps before it attends (Luong et al., 2015), so
    that all positions of a target train in parallel; the coverage loss is See et al.'s, but coverage is no input of the
    attention.
    """

    def __init__(self, options: PointerGeneratorOptions, context: BuildContext) -> None:
        super().__init__(context.vocabulary, length=options.length, objective=context.text_objective)
        width = context.width
        self.coverage = options.coverage
        hidden = options.hidden or width
        embedding = options.embedding or width
        self.embedding = nn.Embedding(len(self.vocabulary), embedding)
        self.words = WordStates(self.embedding, width=width, steps=context.steps)
        self.start = nn.Linear(width, hidden)
        self.recurrent = nn.GRU(embedding, hidden, batch_first=True)
        self.query = nn.Linear(hidden, width, bias=False)
        self.joining = nn.Linear(hidden + width, hidden)
        self.gate = nn.Linear(embedding + hidden + width, 1)
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear(hidden, len(self.vocabulary))

    def logits(self, narrative: Narrative, ids: Tensor) -> Tensor:
        """Return scores of every token at every position (B, T, V); each position reads only targets before it."""
        before = self._shift_right(ids)
        outputs, _ = self._outputs(
            before, self._first_state(narrative), self.words(narrative), self._readable(narrative)
        )
        source = narrative.context.text_ids.flatten(1).repeat_interleave(ids.shape[1], dim=0)  # (B * T, M)
        flat = outputs.at(torch.ones_like(ids, dtype=torch.bool))  # all B * T positions
        return self._mixed(flat, source).reshape(*ids.shape, -1)

    def loss(self, narrative: Narrative, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the mean cross-entropy in nats per real token, a scalar, from targets and mask (B, T)."""
        before = self._shift_right(ids)
        words, readable = self.words(narrative), self._readable(narrative)
        outputs, _ = self._outputs(before, self._first_state(narrative), words, readable)
        places = mask.nonzero(as_tuple=True)  # of the N real tokens, looked up once, as a GPU is waited for
        real = outputs.at(places)
        source = narrative.context.text_ids.flatten(1)[places[0]]  # (B, M) -> (N, M)
        objective = self._objective()
        if objective.is_plain:
            loss = -self._answered(real, source, ids[places]).mean()
        else:
            loss = sliced_loss(
                lambda part: self._mixed(real.at(part), source[part]),
                ids,
                mask,
                size=len(self.vocabulary),
                objective=objective,
            )
        if self.training and self.coverage:
            loss = loss + self.coverage * _coverage(outputs.attention.exp())[places].mean()
        return loss

    def begin(self, narrative: Narrative) -> tuple[State, State]:
        """Return the first state (B, hidden), and of the context's words (B, M) states, which can be read, and ids."""
        fixed = self.words(narrative), self._readable(narrative), narrative.context.text_ids.flatten(1)
        return (self._first_state(narrative),), fixed

    def _step(self, tokens: Tensor, state: State, fixed: State) -> tuple[Tensor, State]:
        words, readable, source = fixed
        outputs, after = self._outputs(tokens[:, None], state[0], words, readable)
        return self._mixed(outputs.at((slice(None), 0)), source), (after,)

    def _first_state(self, narrative: Narrative) -> Tensor:
        return torch.tanh(self.start(narrative.summary))  # (B, D) -> (B, hidden)

    def _readable(self, narrative: Narrative) -> Tensor:
        """Return which tokens of the context can be attended to, (B, M): real ones that are not special."""
        special = {self.vocabulary.pad, self.vocabulary.bos, self.vocabulary.eos}
        readable, ids = word_mask(narrative), narrative.context.text_ids.flatten(1)
        for token in special:  # not `torch.isin`, which cannot be exported
            readable = readable & (ids != token)
        return readable

    def _outputs(self, before: Tensor, state: Tensor, words: Tensor, readable: Tensor) -> tuple[Outputs, Tensor]:
        """Return the outputs after tokens (B, T), starting from a state (B, hidden), and the state after them."""
        embedded = self.dropout(self.embedding(before))  # (B, T, E)
        states, after = run_recurrent(self.recurrent, embedded, state[None])  # (B, T, hidden), (1, B, hidden)
        matched = self.query(states) @ words.transpose(1, 2) * words.shape[-1] ** -0.5  # (B, T, M)
        masked = ~readable[:, None]
        attention = matched.float().masked_fill(masked, NEVER).log_softmax(dim=-1).masked_fill(masked, NEVER)
        attended = attention.exp().to(words.dtype) @ words  # (B, T, D)
        joined = self.dropout(torch.tanh(self.joining(torch.cat([states, attended], dim=-1))))
        gate = self.gate(torch.cat([embedded, states, attended], dim=-1))[..., 0].float()  # (B, T)
        return Outputs(joined, attention, gate), after[0]

    def _answered(self, outputs: Outputs, source: Tensor, answers: Tensor) -> Tensor:
        """Return the log-probability (N,) of each answer (N,), without computing that of other tokens."""
        generated = answer_log_probabilities(outputs.states, self.head, answers) + functional.logsigmoid(outputs.gate)
        copied = outputs.attention.masked_fill(source != answers[:, None], NEVER).logsumexp(dim=1)
        return torch.logaddexp(generated, copied + functional.logsigmoid(-outputs.gate))

    def _mixed(self, outputs: Outputs, source: Tensor) -> Tensor:
        """Return the log-probability of every token, (n, V)."""
        generated = self.head(outputs.states).float().log_softmax(dim=-1)
        copied = torch.zeros_like(generated).scatter_add(1, source, outputs.attention.exp())
        copied = copied.clamp(min=LEAST).log()
        gate = outputs.gate[:, None]
        return torch.logaddexp(generated + functional.logsigmoid(gate), copied + functional.logsigmoid(-gate))


def _coverage(attention: Tensor) -> Tensor:
    """Return the coverage loss (B, T), the attention to tokens attended to before, from (B, T, M): equation 12."""
    covered = attention.cumsum(dim=1) - attention
    return torch.minimum(attention, covered).sum(dim=-1)
