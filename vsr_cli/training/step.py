"""The losses and the gradient of one step, over as many forward passes and processes as it takes.

A step's windows are worked through in passes. Each loss is a mean: of the text over tokens, of the image over
windows, of the alignment over frames. A pass counts as much as its part of what the step's mean is over, so that the
gradient is that of all the step's windows at once, however they are cut. One thing does change with the cut: the
alignment loss knows the frames of its own pass alone as negatives.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils.memory import clear_device_cache
from numpy.typing import NDArray
from torch import Tensor

from ..console import say
from ..errors import VsrError
from ..model.losses.means import Split
from ..model.story_model import StoryModel
from .allocator import ONE_WINDOW_IS_TOO_MUCH, ran_out_of_memory
from .distributed import exchange
from .meeting import Meeting, SomeoneRanOut
from .progress import Progress, in_parts

ONE_LOSS_OF_ALL = ("alignment",)
"""Losses that each process computes of all processes' windows, rather than of its own."""


@dataclass(frozen=True)
class Measurer:
    """Measures a model's losses, and their gradient, on some windows."""

    model: StoryModel
    width: int
    """D, of the model's embeddings."""
    accelerator: Accelerator
    progress: Progress
    meeting: Meeting

    def measure(self, split: Split, indices: NDArray[np.int64]) -> dict[str, float]:
        """Return the losses of the windows with these indices, the same on every process.

        Each process then holds its part of the gradient; the parts are yet to be added up. Where a pass does not fit
        memory, all is done again in passes of half the size. Raises VsrError if one window does not fit.
        """
        size = self.progress.windows_per_pass
        self.model.trace = []  # of this step, should it not come to finite numbers
        values = self._attempt(split, indices)
        while values is None:
            self.model.zero_grad(set_to_none=True)
            clear_device_cache(garbage_collection=True)
            if self.progress.windows_per_pass <= self.accelerator.num_processes:
                raise VsrError(ONE_WINDOW_IS_TOO_MUCH)
            self.progress.windows_per_pass = math.ceil(self.progress.windows_per_pass / 2)
            values = self._attempt(split, indices)
        if self.progress.windows_per_pass < size:
            say(
                f"{size} windows do not fit in memory at once: from here on they are worked through "
                f"{self.progress.windows_per_pass} at a time, with the same gradient but for the alignment loss, which "
                "has fewer negatives"
            )
        return values

    def _attempt(self, split: Split, indices: NDArray[np.int64]) -> dict[str, float] | None:
        """Go over the windows once; None where some process ran out of memory."""
        passes: list[Tensor] = []
        ran_out = False
        try:
            for everyones in in_parts(indices, self.progress.windows_per_pass):
                measured = self._pass(split, indices, everyones)
                passes += [measured] if measured is not None else []
        except SomeoneRanOut:
            return None
        except (RuntimeError, MemoryError) as error:
            if not ran_out_of_memory(error):
                raise
            # Another attempt starts outside of this block, since the error holds on to what was computed.
            ran_out = True
        try:
            self.meeting.hold(ran_out=ran_out)
        except SomeoneRanOut:
            return None
        names = ("loss", *split.counts)
        own = torch.stack(passes).sum(0).tolist() if passes else [0.0] * len(names)
        everyones_values = exchange(own, self.accelerator)
        return {name: sum(column) for name, column in zip(names, zip(*everyones_values, strict=True), strict=True)}

    def _pass(self, split: Split, step: NDArray[np.int64], everyones: NDArray[np.int64]) -> Tensor | None:
        """Go forward and backward over this process's windows of one pass.

        Gives its part of the step's losses, (losses,); None where there is no window for it.
        """
        processes, index = self.accelerator.num_processes, self.accelerator.process_index
        own = np.array_split(everyones, processes)[index]
        sharing = min(processes, len(everyones))
        if not len(own):
            self.model.alignment.gather_without_frames(self.width)
            return None
        with self.accelerator.autocast():
            losses = self.model(split.contexts.batch(own), split.targets.batch(own))
        weights = self.model.weights.model_dump()
        parts: dict[str, Tensor] = {}
        for name, counts in split.counts.items():
            counted = counts[everyones].sum() / sharing if name in ONE_LOSS_OF_ALL else counts[own].sum()
            parts[name] = losses[name] * float(counted / counts[step].sum())
        total = torch.stack([weights[name] * part for name, part in parts.items()]).sum()
        self.accelerator.backward(total)
        return torch.stack([part.detach().float() for part in (total, *parts.values())])
