"""The plan of `vsr train --dry-run`: sizes counted, memory and time measured on a few steps; nothing is written."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor, nn
from torch.optim import Optimizer

from ..config.experiment import TrainConfig
from ..data.cache.encoding import BATCH
from ..data.prepared import Prepared
from ..errors import VsrError
from ..model.building import build_model
from ..model.frozen_store import FrozenStore, pending_halves
from ..model.held_out_losses import batch_losses
from ..model.loss_means import open_split
from ..model.story_model import StoryModel
from ..model.weights import frozen_names
from .distributed import precision_of
from .fit_statistics import fit_to_training, training_frames
from .optimizer import make_optimizer
from .plan_features import FeatureNeed, plan_features
from .progress import Progress, in_parts, shuffled
from .step import StepRunner, compiled

TIMED_STEPS = 4
"""The minimum; more while they take less than TIMED_SECONDS together. The first step, which is slower, is not timed."""
TIMED_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class PartSize:
    """The number of parameters of a part of the model."""

    part: str
    component: str | None
    """None for the loss terms, which belong to no part."""
    trained: int
    frozen: int


@dataclass(frozen=True, kw_only=True)
class Disk:
    """The size of a run folder, in bytes."""

    frozen_weights: int
    """Written once."""
    trained_weights: int
    """In each of the two checkpoints."""
    optimizer: int
    """In the last checkpoint only."""

    @property
    def run(self) -> int:
        """The total while the last checkpoint is being replaced."""
        return self.frozen_weights + 3 * self.trained_weights + 2 * self.optimizer


@dataclass(frozen=True, kw_only=True)
class Memory:
    """The memory of a step on the training device, in bytes."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    """What the forward pass saves for the backward pass, and on a GPU all other temporary memory."""

    @property
    def together(self) -> int:
        """The sum, without torch itself and its libraries."""
        return self.weights + self.gradients + self.optimizer + self.activations


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a training needs."""

    data: Path
    windows: Mapping[str, int]
    """By split."""
    epochs: int
    steps_per_epoch: int
    windows_per_step: int
    device: str
    precision: str
    parts: Sequence[PartSize]
    features: Sequence[FeatureNeed]
    disk: Disk
    memory: Memory
    step_seconds: float
    validation_seconds: float
    """For one pass over the split."""

    @property
    def feature_seconds(self) -> float:
        """To compute the features that are not cached yet."""
        return sum(need.seconds for need in self.features)

    @property
    def epoch_seconds(self) -> float:
        """With validation, without checkpoints."""
        return self.steps_per_epoch * self.step_seconds + self.validation_seconds

    @property
    def training_seconds(self) -> float:
        """All epochs and the features."""
        return self.feature_seconds + self.epochs * self.epoch_seconds

    def record(self) -> dict[str, Any]:
        """Return the plan as JSON data."""
        return {
            "data": str(self.data),
            "windows": dict(self.windows),
            "epochs": self.epochs,
            "steps_per_epoch": self.steps_per_epoch,
            "windows_per_step": self.windows_per_step,
            "device": self.device,
            "precision": self.precision,
            "parameters": [asdict(part) for part in self.parts],
            "features": [need.record() for need in self.features],
            "disk_bytes": {**asdict(self.disk), "run": self.disk.run},
            "memory_bytes": {**asdict(self.memory), "together": self.memory.together},
            "seconds": {
                "features": self.feature_seconds,
                "step": self.step_seconds,
                "validation": self.validation_seconds,
                "epoch": self.epoch_seconds,
                "training": self.training_seconds,
            },
        }


def plan_training(config: TrainConfig, prepared: Prepared, *, accelerator: Accelerator) -> Plan:
    """Build the model and take a few steps on real batches. Writes nothing.

    Raises VsrError if there is nothing to train on, or a single window does not fit in memory.
    """
    options = config.training
    count = len(prepared.windows("train"))
    if not count:
        raise VsrError(f"{prepared.folder}: no window is in the train split; prepare more stories")
    set_seed(options.seed)
    model = build_model(
        config,
        image_size=prepared.image_size,
        steps=prepared.context_frames,
        training_texts=prepared.training_texts,
        store=FrozenStore(options=config.features, writes=False),
    )
    model.to(accelerator.device)
    progress = Progress(
        windows_per_step=options.batch_size * options.gradient_accumulation_steps, windows_per_pass=options.batch_size
    )
    order = shuffled(count, seed=options.seed, epoch=1)
    steps = list(islice(in_parts(order, progress.windows_per_step), TIMED_STEPS))
    sample = np.sort(np.concatenate(steps))
    features, needs = plan_features(prepared, model, sample=sample, device=accelerator.device, options=config.features)
    sampled = prepared.windows("train").take(sample)
    frames = training_frames(model, prepared, features, device=accelerator.device, windows=sampled)
    fit_to_training(model, frames)
    training = open_split(model, prepared, "train", features, device=accelerator.device)

    wrapped, optimizer = accelerator.prepare(model, make_optimizer(model, options))
    runner = StepRunner(
        model=model,
        wrapped=wrapped,
        optimizer=optimizer,
        accelerator=accelerator,
        options=options,
        progress=progress,
    )
    take = partial(runner.run, training, rate=1.0)
    with compiled(model, enabled=options.compile):
        model.train()
        saved = _saved_for_backward(model, partial(take, steps[0][: progress.windows_per_pass]))
        step_seconds = _typical_seconds(accelerator.device, [partial(take, step) for step in steps])
        memory = _memory(runner, partial(take, steps[0]), saved)
        model.eval()
        batch = np.concatenate(steps)[:BATCH]
        batch_seconds = _typical_seconds(accelerator.device, [partial(batch_losses, model, training, batch)])
    held_out = len(prepared.windows("validation"))
    return Plan(
        data=prepared.folder,
        windows={"train": count, "validation": held_out},
        epochs=options.epochs,
        steps_per_epoch=progress.steps_per_epoch(count),
        windows_per_step=progress.windows_per_step,
        device=str(accelerator.device),
        precision=precision_of(accelerator),
        parts=_part_sizes(config, model),
        features=needs,
        disk=_disk(model, optimizer),
        memory=memory,
        step_seconds=step_seconds,
        validation_seconds=batch_seconds * held_out / len(batch),
    )


def _typical_seconds(device: torch.device, works: Sequence[Callable[[], object]]) -> float:
    """Return the median time of some functions on a device, which one outlier does not change."""
    clock = torch.get_device_module(device)
    times: list[float] = []
    while len(times) < TIMED_STEPS or sum(times) < TIMED_SECONDS:
        work = works[len(times) % len(works)]
        clock.synchronize()
        begun = time.perf_counter()
        work()
        clock.synchronize()
        times.append(time.perf_counter() - begun)
    return median(times)


def _saved_for_backward(model: StoryModel, take_step: Callable[[], object]) -> int:
    """Take a first step in one pass, and return the bytes that its forward pass saves for the backward pass."""
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    saved: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        take_step()
    return sum(saved.values())


def _memory(runner: StepRunner, take_step: Callable[[], object], saved_for_backward: int) -> Memory:
    """Return the memory of a step; on a GPU, which counts its memory, the sum is the peak of a step that is taken."""
    model, device = runner.model, runner.accelerator.device
    weights = sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))
    gradients = sum(parameter.nbytes for parameter in model.parameters() if parameter.requires_grad)
    optimizer = _optimizer_bytes(runner.optimizer)
    activations = saved_for_backward
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        take_step()
        peak = torch.cuda.max_memory_allocated(device)
        activations = max(0, peak - weights - gradients - optimizer)
    return Memory(weights=weights, gradients=gradients, optimizer=optimizer, activations=activations)


def _part_sizes(config: TrainConfig, model: StoryModel) -> list[PartSize]:
    """Count the parameters of each part, shared ones in the first, and then all others."""
    modules: dict[str, nn.Module] = {part: getattr(model, part) for part in config.parts}
    names = {part: choice.name for part, choice in config.parts.items()}
    counted: set[nn.Parameter] = set()
    pending = {section: half.parameters for section, half in pending_halves(model)}
    sizes = []
    for part, module in {**modules, "objective": model}.items():
        own = set(module.parameters()) - counted
        counted |= own
        trained = sum(parameter.numel() for parameter in own if parameter.requires_grad)
        frozen = sum(parameter.numel() for parameter in own if not parameter.requires_grad)
        frozen += pending.pop(part, 0)
        sizes.append(PartSize(part=part, component=names.get(part), trained=trained, frozen=frozen))
    return sizes


def _disk(model: StoryModel, optimizer: Optimizer) -> Disk:
    frozen = frozen_names(model)
    sizes = {name: tensor.nbytes for name, tensor in model.state_dict().items()}
    return Disk(
        frozen_weights=sum(size for name, size in sizes.items() if name in frozen)
        + sum(half.weights.stat().st_size for _, half in pending_halves(model)),
        trained_weights=sum(size for name, size in sizes.items() if name not in frozen),
        optimizer=_optimizer_bytes(optimizer),
    )


def _optimizer_bytes(optimizer: Optimizer) -> int:
    return sum(
        value.nbytes for state in optimizer.state.values() for value in state.values() if isinstance(value, Tensor)
    )
