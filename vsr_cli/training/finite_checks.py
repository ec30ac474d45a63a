"""Checks that losses, gradients and weights are finite, which name the component where NaN or infinity first appears.

An infinite gradient makes every weight NaN at the next optimizer step; an infinite weight makes every later loss NaN.
So the order is: losses, gradient, weights after the epoch's last step, validation losses. All processes check the same
numbers, and stop at the same step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from accelerate import Accelerator
from torch import Tensor
from torch.optim import Optimizer

from ..api.finite import first_not_finite, weight_not_finite
from ..config.experiment import TrainConfig
from ..errors import VsrError
from ..model.find_nonfinite import traced_not_finite
from ..model.story_model import StoryModel
from ..plugin.kinds import KIND_OF, MODEL_COMPONENTS
from ..runs.run import Run


@dataclass(frozen=True)
class FiniteChecks:
    """Checks of a training of this model; each raises VsrError naming what is not finite, and when."""

    model: StoryModel
    config: TrainConfig
    run: Run

    def losses(self, losses: Mapping[str, float], *, epoch: int, step: int) -> None:
        """Check a step's losses: the weighted sum, first in the mapping, and the terms, which are named first."""
        broken = [name for name in reversed(list(losses)) if not math.isfinite(losses[name])]
        if broken:
            when = f"epoch {epoch}, step {step}{self._source(broken)}"
            self._stop(f"the {broken[0]} loss is {losses[broken[0]]}", when)

    def gradient(self, norm: float, accelerator: Accelerator, *, epoch: int, step: int) -> None:
        """Check the norm of the gradient.

        In fp16, the loss scaler skips steps that overflow and then scales less: it is an error only when the scale
        cannot be reduced.
        """
        if math.isfinite(norm) or (accelerator.scaler is not None and accelerator.scaler.get_scale() > 1):
            return
        # A gradient that is not finite spreads to all earlier components, so its source is the last one.
        later_first = [*reversed(MODEL_COMPONENTS), ""]
        named = [(name, weight.grad) for name, weight in self.model.named_parameters() if weight.grad is not None]
        for part in later_first:
            found = first_not_finite(item for item in named if item[0].startswith(f"{part}." if part else ""))
            if found:
                self._stop(f"the gradient of {self._owned(found)} is not finite", f"epoch {epoch}, step {step}")
        self._stop(f"the gradient's norm is {norm}", f"epoch {epoch}, step {step}")

    def weights(self, optimizer: Optimizer, *, epoch: int) -> None:
        """Check the content of a checkpoint: weights, buffers and optimizer states."""
        found = weight_not_finite(self.model)
        if found:
            self._stop(f"{self._owned(found)} is not finite", f"epoch {epoch}, so no checkpoint is written")
        states = (
            (f"{name}.{kind}", value)
            for name, weight in self.model.named_parameters()
            for kind, value in optimizer.state.get(weight, {}).items()
            if isinstance(value, Tensor)
        )
        if found := first_not_finite(states):
            self._stop(f"the optimizer's {self._owned(found)} is not finite", f"epoch {epoch}")

    def validation(self, losses: Mapping[str, float], *, epoch: int) -> None:
        """Check the validation losses of an epoch."""
        broken = [name for name in reversed(list(losses)) if not math.isfinite(losses[name])]
        if broken:
            when = f"epoch {epoch}{self._source(broken)}"
            self._stop(f"the {broken[0]} validation loss is {losses[broken[0]]}", when)

    def _owned(self, weight: str) -> str:
        """Return the name of a weight and of its component."""
        part = weight.partition(".")[0]
        choice = self.config.parts.get(part)
        if choice is None:
            return weight
        name = choice.provided.described if not choice.provided.is_shipped else f"{KIND_OF[part].title} '{choice.name}'"
        return f"{weight} ({name})"

    def _source(self, broken: Sequence[str]) -> str:
        """Return a clause that names the first component whose output was not finite, if it is known."""
        section = traced_not_finite(self.model.trace or ())
        if section is None:  # the outputs of all others are finite
            computed_by = (self.model.terms[name].computed_by for name in broken if name in self.model.terms)
            section = next(filter(None, computed_by), None)
        return f", and {self.model.names[section]} is the first whose output is not finite" if section else ""

    def _stop(self, what: str, when: str) -> None:
        last = self.run.checkpoint("last")
        raise VsrError(
            f"{self.run.folder}: {what} at {when}; try a smaller --set training.learning_rate "
            f"(last good checkpoint: {last if last.is_dir() else 'none yet'})"
        )
