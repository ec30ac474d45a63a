"""The losses and the gradient of one step, over as many forward passes and processes as it takes.

A step's windows are worked through in passes. Each loss is a mean: of the text over tokens, of the image over
windows, of the alignment over frames. A pass counts as much as its part of what the step's mean is over, so that the
gradient is that of all the step's windows at once, however they are cut. One thing does change with the cut: the
alignment loss knows the frames of its own pass alone as negatives.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size
from numpy.typing import NDArray
from torch import Tensor

from ..console import say
from ..data.batches import Contexts, TargetFeatureSource, Targets
from ..data.features import Features
from ..data.prepared import Prepared
from ..errors import VsrError
from ..model.story_model import StoryModel
from ..sections import CONTEXT_FRAMES
from .meeting import Meeting, SomeoneRanOut
from .processes import exchange
from .progress import Progress, in_parts

ONE_LOSS_OF_ALL = ("alignment",)
"""Losses that each process computes of all processes' windows, rather than of its own."""


@dataclass(frozen=True)
class Split:
    """The windows of one split, ready to be made into batches."""

    contexts: Contexts
    targets: Targets
    counts: Mapping[str, NDArray[np.int64]]
    """What each loss is a mean over, (W,): the tokens, images and frames of each window."""

    def __len__(self) -> int:
        return len(self.contexts)


def open_split(model: StoryModel, prepared: Prepared, split: str, features: Features, *, device: torch.device) -> Split:
    """Give a split's windows for a model that is on `device`."""
    windows = prepared.windows(split)
    frames = prepared.frames
    encoded: dict[str, Any] = {"visual": model.visual, "text": model.text, "features": features, "device": device}
    looked_for = TargetFeatureSource(frames, windows, **encoded) if model.next_frame is not None else None
    targets = Targets(frames, windows, decoder=model.text_decoder, device=device, features=looked_for)
    counts = {
        "text": targets.counts,
        **dict.fromkeys(("image", *model.image_errors), np.ones(len(windows), dtype=np.int64)),
        "alignment": (~windows.repeated[:, :CONTEXT_FRAMES]).sum(axis=1),
    }
    if looked_for is not None:
        counts["next"] = np.ones(len(windows), dtype=np.int64)
    return Split(Contexts(frames, windows, **encoded), targets, counts)


@dataclass(frozen=True)
class Measurer:
    """Measures a model's losses, and their gradient, on some windows."""

    model: StoryModel
    width: int
    """D, of the model's embeddings."""
    accelerator: Accelerator
    progress: Progress
    meeting: Meeting

    def measure(self, split: Split, indices: NDArray[np.int64], *, learn: bool) -> dict[str, float]:
        """Give the losses of the windows with these indices, the same on every process.

        With `learn`, each process then holds its part of the gradient; the parts are yet to be added up. Where a pass
        does not fit memory, all is done again in passes of half the size. Raises VsrError if one window does not fit.
        """
        size = self.progress.windows_a_pass
        values = self._attempt(split, indices, learn=learn)
        while values is None:
            self.model.zero_grad(set_to_none=True)
            clear_device_cache(garbage_collection=True)
            if self.progress.windows_a_pass <= self.accelerator.num_processes:
                raise VsrError(
                    "training: a single window does not fit in memory; choose a smaller model.width, image size or "
                    "encoder, or another training.device"
                )
            self.progress.windows_a_pass = math.ceil(self.progress.windows_a_pass / 2)
            values = self._attempt(split, indices, learn=learn)
        if self.progress.windows_a_pass < size:
            say(
                f"{size} windows do not fit in memory at once: from here on they are worked through "
                f"{self.progress.windows_a_pass} at a time, with the same gradient, but for the alignment loss, which "
                "has fewer negatives"
            )
        return values

    def _attempt(self, split: Split, indices: NDArray[np.int64], *, learn: bool) -> dict[str, float] | None:
        """Go over the windows once; None where some process ran out of memory."""
        passes: list[Tensor] = []
        ran_out = False
        try:
            for everyones in in_parts(indices, self.progress.windows_a_pass):
                with torch.set_grad_enabled(learn):
                    measured = self._pass(split, indices, everyones, learn=learn)
                passes += [measured] if measured is not None else []
        except SomeoneRanOut:
            return None
        except (RuntimeError, MemoryError) as error:
            if not (isinstance(error, MemoryError) or should_reduce_batch_size(error)):
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

    def _pass(
        self, split: Split, step: NDArray[np.int64], everyones: NDArray[np.int64], *, learn: bool
    ) -> Tensor | None:
        """Go forward, and with `learn` backward, over this process's windows of one pass.

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
        if learn:
            self.accelerator.backward(total)
        return torch.stack([part.detach().float() for part in (total, *parts.values())])
