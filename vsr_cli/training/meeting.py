"""The frames of all processes in one contrastive loss, and what happens when one of them has no memory left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn import functional

from .distributed import exchange, gather_equal


class SomeoneRanOut(Exception):
    """Some process has run out of memory, so that all of them must try again with less."""


class Meeting:
    """Where processes wait for each other while gradients are computed: once in each forward pass, and at the end.

    As `Alignment.gather` it puts the rows of all processes together, in their order. A process that runs out of
    memory anywhere says so when the next meeting is held, which may be the end; all then raise SomeoneRanOut.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator

    def hold(self, *, rows: int = 0, ran_out: bool = False) -> list[int]:
        """Tell the others how many rows one brings, or that one ran out of memory. Gives everyone's rows."""
        said = exchange([float(ran_out), float(rows)], self._accelerator)
        if any(out for out, _ in said):
            raise SomeoneRanOut
        return [int(count) for _, count in said]

    def __call__(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return for each tensor (n, *F) that of all processes (N, *F), through which gradients flow back."""
        rows = self.hold(rows=len(tensors[0]))
        return [_Everyones.apply(tensor, rows, self._accelerator) for tensor in tensors]


class _Everyones(torch.autograd.Function):
    """All-gather, with a gradient that needs no message.

    The gradient of a gather is the sum of what every process has for one's own rows. Here all that bring rows compute
    the same loss of all rows, and each counts its fraction of it, so that what the others have is what it has itself.
    """

    @staticmethod
    def forward(ctx: Any, own: Tensor, rows: list[int], accelerator: Accelerator) -> Tensor:
        index = accelerator.process_index
        ctx.rows = slice(sum(rows[:index]), sum(rows[: index + 1]))
        ctx.sharing = sum(count > 0 for count in rows)
        longest = max(rows)
        padded = functional.pad(own, (0, 0) * (own.dim() - 1) + (0, longest - len(own)))  # (longest, *F)
        everyones = gather_equal(padded, accelerator)  # (processes, longest, *F)
        return torch.cat([part[:count] for part, count in zip(everyones, rows, strict=True)])  # (N, *F)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0][ctx.rows] * ctx.sharing, None, None
