"""The optimizer, AdamW, and its learning rate by step."""

from __future__ import annotations

import inspect
import math

import torch
from torch import nn
from torch.optim import Optimizer

from ..config.schema import TrainingOptions


class EagerAdamW(torch.optim.AdamW):
    """AdamW whose step does not import torch's compiler.

    torch's own step imports it to mark itself as not to be compiled. That takes two seconds and 100 MiB at the start of
    a training, and only compiled steps of optimizers need it, of which there are none here.
    """

    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))


for _method in vars(Optimizer).values():
    # For the other methods, torch looks up this attribute before it imports the compiler.
    if hasattr(_method, "__wrapped__"):
        vars(_method.__wrapped__).setdefault("__dynamo_disable", _method.__wrapped__)


def make_optimizer(model: nn.Module, options: TrainingOptions) -> torch.optim.AdamW:
    """Return AdamW (Loshchilov and Hutter, 2019) over the trainable parameters of a model."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return EagerAdamW(trainable, lr=options.learning_rate, weight_decay=options.weight_decay, fused=True)


def rate_factor(options: TrainingOptions, *, step: int, steps: int) -> float:
    """Return the learning rate of a step (from 0), relative to the highest: linear warm-up, then the schedule."""
    warmup = math.ceil(options.warmup_ratio * steps)
    if step < warmup:
        return (step + 1) / warmup
    if options.schedule == "constant":
        return 1.0
    done = (step - warmup) / max(1, steps - warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def set_rate(optimizer: Optimizer, factor: float) -> None:
    """Set every group's learning rate to a multiple of its initial one."""
    for group in optimizer.param_groups:
        group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor
