"""The learning rate, by step."""

from __future__ import annotations

import math

from torch.optim import Optimizer

from ..config.schema import TrainingOptions


def rate_share(options: TrainingOptions, *, step: int, steps: int) -> float:
    """Return the rate of a step (from 0) of `steps` as a share of the highest: a linear warm-up, then the schedule."""
    warmup = math.ceil(options.warmup_ratio * steps)
    if step < warmup:
        return (step + 1) / warmup
    if options.schedule == "constant":
        return 1.0
    done = (step - warmup) / max(1, steps - warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def set_rate(optimizer: Optimizer, share: float) -> None:
    """Set every group's learning rate to a share of the one that it was made with."""
    for group in optimizer.param_groups:
        group["lr"] = group.setdefault("initial_lr", group["lr"]) * share
