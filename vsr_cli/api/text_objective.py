"""What a text decoder may be trained for beside the likelihood of its targets. `vsr_cli.api.text_loss` computes it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TextObjective:
    """What the section `objective` asks of a text decoder that is trained by the likelihood of tokens.

    It acts in training alone: a loss of the validation or of an evaluation is the plain cross-entropy.
    """

    label_smoothing: float = 0.0
    """Share of each target's probability that goes to all tokens alike, in [0, 1)."""
    unlikelihood: float = 0.0
    """Weight of not writing again what stands earlier in the target."""

    @property
    def is_plain(self) -> bool:
        """Whether it is the cross-entropy and nothing else."""
        return not (self.label_smoothing or self.unlikelihood)
