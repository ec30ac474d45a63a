"""The arithmetic limit of a piece of work: its operations, and how fast this machine does such operations."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

SIDES = (1024, 2048)
"""Of the large matrices."""


def operations(work: Callable[[], object]) -> int:
    """Count the floating-point operations of matrix products and convolutions, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def product_rate(
    *, rounds: int, clock: Callable[[], float] = time.process_time, dtype: torch.dtype = torch.float32
) -> float:
    """Return the highest rate at which this machine multiplies large matrices, in operations per second of a clock."""
    rate = 0.0
    for side in SIDES:
        left, right, out = (torch.randn(side, side).to(dtype) for _ in range(3))
        for _ in range(rounds):
            started = clock()
            torch.mm(left, right, out=out)
            rate = max(rate, 2 * side**3 / (clock() - started))
    return rate
