"""The options of a text decoder's training loss, which `vsr_cli.api.text_loss` computes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TextObjective:
    """The options of `objective` for a text decoder that is trained by the likelihood of tokens.

    They apply to training only: the losses of validation and evaluation are the plain cross-entropy.
    """

    label_smoothing: float = 0.0
    """Share of each target's probability that is spread over all tokens, in [0, 1)."""
    unlikelihood: float = 0.0
    """Weight of not repeating earlier tokens of the target."""

    @property
    def is_plain(self) -> bool:
        """Whether the loss is the plain cross-entropy."""
        return not (self.label_smoothing or self.unlikelihood)
