"""One training step: forward and backward passes over its windows, clipping, and the optimizer's update.

The windows of a step are processed in passes, and each pass is shared by the processes. A loss is a mean over items:
tokens, images or frames. Each pass of each process is weighted by its share of the step's items, so the gradient is
that of all windows at once, however they are divided. One thing depends on the division: contrastive terms see only the
windows of the same pass as negatives.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from ..config.schema import TrainingOptions
from ..console import say
from ..errors import VsrError
from ..model.loss_means import Split
from ..model.parts import PROMISES
from ..model.story_model import StoryModel
from .distributed import gather_windows
from .finite_checks import FiniteChecks
from .memory import halve_to_fit
from .optimizer import set_rate
from .progress import Progress, in_parts


@dataclass(frozen=True, kw_only=True)
class StepRunner:
    """Runs training steps of a model; the loop and `vsr train --dry-run` share it."""

    model: StoryModel
    wrapped: nn.Module
    """The model as accelerate prepared it: in several processes DistributedDataParallel, which averages gradients."""
    optimizer: Optimizer
    accelerator: Accelerator
    options: TrainingOptions
    progress: Progress
    checks: FiniteChecks | None = None

    def run(self, split: Split, windows: NDArray[np.int64], *, rate: float) -> dict[str, float]:
        """Train on the windows with these indices (n,), at `rate` times the learning rate; return their mean losses.

        The losses are those of all processes. Raises VsrError if a window does not fit in memory, or if the losses or
        the gradient are not finite.
        """
        before = self.progress.windows_per_pass
        losses, self.progress.windows_per_pass = halve_to_fit(
            lambda size: self._backward(split, windows, size), before, processes=self.accelerator.num_processes
        )
        if self.progress.windows_per_pass < before:
            say(
                f"out of memory with {before} windows in one pass: training continues with "
                f"{self.progress.windows_per_pass}, with the same gradient except for contrastive losses, which have "
                "fewer negatives"
            )
        at = {"epoch": self.progress.epoch, "step": self.progress.step + 1}
        if self.checks:
            self.checks.losses(losses, **at)
        self.accelerator.unscale_gradients(self.optimizer)
        trainable = [parameter for parameter in self.model.parameters() if parameter.grad is not None]
        norm = nn.utils.get_total_norm([parameter.grad for parameter in trainable if parameter.grad is not None])
        length = float(norm)  # read once, as a GPU is waited for
        if self.checks:
            self.checks.gradient(length, self.accelerator, **at)
        if 0 < self.options.max_grad_norm < length:  # most steps need no clipping
            nn.utils.clip_grads_with_norm_(trainable, self.options.max_grad_norm, norm)
        set_rate(self.optimizer, rate)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return losses

    def _backward(self, split: Split, windows: NDArray[np.int64], windows_per_pass: int) -> dict[str, float]:
        """Compute the gradient of the step's windows, and return their mean losses, of all processes together."""
        self.model.zero_grad(set_to_none=True)  # an attempt that ran out of memory may have left gradients
        self.model.trace = []
        passes = list(in_parts(windows, windows_per_pass))
        losses = []
        for number, part in enumerate(passes, start=1):
            # The processes' gradients are averaged once, in the last pass.
            with nullcontext() if number == len(passes) else self.accelerator.no_sync(self.wrapped):
                losses.append(self._run_pass(split, part, step_windows=windows))
        values = self.accelerator.reduce(torch.stack(losses).sum(0), "sum").tolist()
        return dict(zip(("loss", *split.counts), values, strict=True))

    def _run_pass(self, split: Split, windows: NDArray[np.int64], *, step_windows: NDArray[np.int64]) -> Tensor:
        """Run forward and backward on this process's share of one pass; return its part of the step's losses."""
        processes, index = self.accelerator.num_processes, self.accelerator.process_index
        share = math.ceil(len(windows) / processes)
        own = windows[index * share : (index + 1) * share]
        # A process without a window of its own still joins the collectives, with one that has no weight.
        batch = own if len(own) else windows[:1]
        gather = gather_windows(len(windows), share, processes)
        losses = self.wrapped(split.contexts.batch(batch), split.targets.batch(batch), gather)
        parts: dict[str, Tensor] = {}
        for name, counts in split.counts.items():
            # Every process computes the same contrastive loss of all windows of the pass, and contributes its fraction.
            contrastive = self.model.terms[name].contrastive
            items = counts[windows].sum() / processes if contrastive else counts[own].sum()
            parts[name] = losses[name] * float(items / counts[step_windows].sum())
        weights = self.model.objective.weights
        total = torch.stack([weights[name] * part for name, part in parts.items()]).sum()
        self.accelerator.backward(total * processes)  # the parts add up, and DistributedDataParallel averages
        return torch.stack([part.detach().float() for part in (total, *parts.values())])


@contextmanager
def compiled(model: StoryModel, *, enabled: bool) -> Iterator[None]:
    """Compile each part of a model when it is first called in the block, and again for new shapes.

    Only forward passes are compiled, not, say, a text decoder's loss. Raises VsrError if the compiler fails.
    """
    if not enabled:
        yield
        return
    from torch._dynamo.exc import TorchDynamoException  # takes seconds to import

    for section in PROMISES:
        getattr(model, section).compile()
    try:
        yield
    except TorchDynamoException as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise VsrError(
            f"training.compile: torch's compiler failed ({lines[0] if lines else type(error).__name__}); on a CPU it "
            "needs a C++ compiler and Python's headers (on Debian: g++ and python3-dev); install them, or leave "
            "--compile out"
        ) from error
