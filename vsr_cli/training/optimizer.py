"""The optimizer: AdamW in one pass over the weights, less the rows of large tables that no batch has held."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from ..config.schema import TrainingOptions

LARGE_TABLE = 2**20
"""Numbers in a table of embeddings from which on its gradient is kept by row: below, a pass over all costs no more."""
FEW_ROWS = 1 / 3
"""Share of a table's rows up to which gathering them costs less than a pass over the whole table."""


class RowwiseAdamW(torch.optim.AdamW):
    """AdamW (Loshchilov and Hutter, 2019) that takes sparse gradients, and then only updates the rows seen so far.

    A row that no batch has held has had no gradient: its averages are 0 and AdamW would not move it but for the weight
    decay, which it is spared. All rows that have ever had one are updated at every step, as their averages say, whether
    or not this batch holds them. So the weights are AdamW's, and so is the state: a checkpoint of one loads into the
    other.
    """

    def __init__(self, weights: Iterable[nn.Parameter], *, lr: float, weight_decay: float) -> None:
        super().__init__(weights, lr=lr, weight_decay=weight_decay, fused=True)
        self._seen: dict[Tensor, Tensor] = {}

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the weights. Sparse gradients are used up."""
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is not None and table.grad.is_sparse:
                    self._step_rows(table, group)
        return super().step(closure)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state; which rows have been seen follows from it."""
        super().load_state_dict(state_dict)
        self._seen.clear()

    def _step_rows(self, table: Tensor, group: dict[str, Any]) -> None:
        """Update the rows seen so far and drop the gradient, or make it dense for the pass over everything."""
        gradient = table.grad.coalesce()  # type: ignore[union-attr]
        state = self.state[table]
        if not state:
            state.update(step=table.new_zeros(()), exp_avg=torch.zeros_like(table), exp_avg_sq=torch.zeros_like(table))
        if table not in self._seen:
            self._seen[table] = state["exp_avg_sq"].any(dim=1)  # (rows,)
        seen = self._seen[table]
        # A row whose gradient is all zeros, such as padding's, is not seen: a resumed run could not tell that it was.
        real = gradient.values().any(dim=1)
        touched, values = gradient.indices()[0][real], gradient.values()[real]
        seen[touched] = True
        rows = seen.nonzero()[:, 0]
        if len(rows) > FEW_ROWS * len(table):
            table.grad = gradient.to_dense()
            return
        table.grad = None
        some = [whole[rows] for whole in (table, state["exp_avg"], state["exp_avg_sq"])]
        slopes = torch.zeros_like(some[0])
        slopes[torch.searchsorted(rows, touched)] = values
        beta1, beta2 = group["betas"]
        adamw(
            [some[0]],
            [slopes],
            [some[1]],
            [some[2]],
            [],
            [state["step"]],
            fused=True,
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )
        for whole, part in zip((table, state["exp_avg"], state["exp_avg_sq"]), some, strict=True):
            whole[rows] = part


def make_optimizer(model: nn.Module, options: TrainingOptions, *, alone: bool) -> RowwiseAdamW:
    """Make the optimizer of all that trains in a model.

    On a CPU large tables of embeddings are set to give sparse gradients, if the process trains `alone`: not every means
    of exchanging gradients between processes knows sparse ones, and a GPU passes over any table in no time.
    """
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    for module in model.modules():
        if isinstance(module, nn.Embedding) and module.weight.requires_grad:
            module.sparse = alone and module.weight.device.type == "cpu" and module.weight.numel() >= LARGE_TABLE
    return RowwiseAdamW(trained, lr=options.learning_rate, weight_decay=options.weight_decay)


def gradient_norm(weights: Iterable[nn.Parameter]) -> Tensor:
    """Return the norm of all gradients together, a scalar: NaN or infinite if any number in them is."""
    return nn.utils.get_total_norm(_gradients(weights))


def clip_gradient(weights: Iterable[nn.Parameter], norm: Tensor, *, largest: float) -> None:
    """Scale all gradients down together so that their `norm`, a scalar, is at most `largest`."""
    if norm > largest:  # most steps need no clipping
        torch._foreach_mul_(_gradients(weights), (largest / (norm + 1e-6)).clamp(max=1.0))


def _gradients(weights: Iterable[nn.Parameter]) -> list[Tensor]:
    """Return what the gradients hold, of a sparse one the rows that it has."""
    values = []
    for weight in weights:
        gradient = weight.grad
        if gradient is None:
            continue
        if gradient.is_sparse:
            weight.grad = gradient = gradient.coalesce()
            gradient = gradient.values()
        values.append(gradient)
    return values
