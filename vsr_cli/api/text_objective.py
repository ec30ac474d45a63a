"""What a text decoder may be trained for beside the likelihood of its targets. `vsr_cli.api.text_loss` computes it."""

from __future__ import annotations

from pydantic import Field

from .component import Options


class TextObjectiveOptions(Options):
    """Options of every text decoder that is trained by the likelihood of tokens. They act in training alone.

    A loss of the validation or of an evaluation is the plain cross-entropy, whatever they say.
    """

    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="share of each target's probability that goes to all tokens alike, in training"
    )
    unlikelihood: float = Field(
        0.0, ge=0, allow_inf_nan=False,
        description="weight, in training, of not writing again what stands earlier in the target",
    )  # fmt: skip

    @property
    def is_plain(self) -> bool:
        """Whether it is the cross-entropy and nothing else."""
        return not (self.label_smoothing or self.unlikelihood)
