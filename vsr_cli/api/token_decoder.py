"""The base class of text decoders that write tokens of a vocabulary: tokenization, shifted inputs, loss, generation.

Imports torch, so `vsr_cli.api` itself does not import it. Shapes: B stories, T tokens of a target text, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from .contracts import Narrative
from .decoding import Decoding
from .generation import State, write, write_samples
from .optional_contracts import WritesByStep
from .text_loss import PLAIN, head_loss
from .text_objective import TextObjective
from .vocabulary import TokenBatch, Vocabulary


class TokenDecoder(nn.Module):
    """A text decoder over a vocabulary. A subclass adds `loss` and `generate`, for which the other methods help.

    `_write` needs a method `_step(tokens, state, fixed)` (see `vsr_cli.api.generation.Step`), and `_head_loss` a linear
    layer `head` from states to scores of the vocabulary.
    """

    objective: TextObjective
    head: nn.Linear

    def __init__(self, vocabulary: Vocabulary | None, *, length: int, objective: TextObjective | None = None) -> None:
        """Store the vocabulary and T, the longest text; and the training objective, if `loss` supports one."""
        super().__init__()
        assert vocabulary is not None, "a decoder is built after the text encoder"
        self.vocabulary = vocabulary
        self.length = length
        if objective is not None:
            self.objective = objective

    def tokenize(self, texts: Sequence[str]) -> TokenBatch:
        """Return target ids and mask (N, T), without bos, and with a final eos unless the text is truncated."""
        return self.vocabulary.encode_targets(texts, length=self.length)

    def detokenize(self, ids: Tensor) -> list[str]:
        """Return the text of each row of ids (B, T), up to its first eos."""
        return self.vocabulary.decode(ids)

    def _shift_right(self, ids: Tensor) -> Tensor:
        """Return the decoder's inputs (B, T) for targets (B, T): bos, then all but the last target."""
        return functional.pad(ids[:, :-1], (1, 0), value=self.vocabulary.bos)

    def _objective(self) -> TextObjective:
        """Return the training objective, or plain cross-entropy outside training."""
        return self.objective if self.training else PLAIN

    def _head_loss(self, states: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the mean cross-entropy in nats per real token, a scalar, from states (B, T, H) and targets (B, T)."""
        return head_loss(states, self.head, ids, mask, objective=self._objective())

    def _write(self, narrative: Narrative, decoding: Decoding, state: State, *, fixed: State = ()) -> Tensor:
        """Generate a text per story with `_step`: ids (B, length), up to eos, then padding."""
        return write(
            self._step,
            state,
            fixed=fixed,
            context=narrative.context,
            vocabulary=self.vocabulary,
            length=self.length,
            decoding=decoding,
        )

    def step(self, tokens: Tensor, state: State, fixed: State) -> tuple[Tensor, State]:
        """Return scores (R, V) of the tokens after `tokens` (R,), and the new state."""
        return self._step(tokens, state, fixed)

    def _step(self, tokens: Tensor, state: State, fixed: State) -> tuple[Tensor, State]:
        raise AssertionError("a subclass that calls _write defines _step")


class StepDecoder(TokenDecoder):
    """A text decoder that generates with `_step` alone, for which a subclass adds `_step`, `loss` and `begin`.

    A subclass whose state grows with the text, so that its step cannot be exported, overrides `_start` instead of
    having `begin`.
    """

    def _start(self, narrative: Narrative) -> tuple[State, State]:
        """Return the state before the first token, and what the steps read and never change; both (B, ...)."""
        return cast(WritesByStep, self).begin(narrative)

    def generate(self, narrative: Narrative, decoding: Decoding) -> Tensor:
        """Generate a text per story: ids (B, length), up to eos, then padding."""
        state, fixed = self._start(narrative)
        return self._write(narrative, decoding, state, fixed=fixed)

    def generate_samples(self, narrative: Narrative, decodings: Sequence[Decoding]) -> Tensor:
        """Sample a text per story and decoding, together: ids (B, S, length)."""
        state, fixed = self._start(narrative)
        return write_samples(
            self._step,
            state,
            fixed=fixed,
            context=narrative.context,
            vocabulary=self.vocabulary,
            length=self.length,
            decodings=decodings,
        )
