"""The cross-entropy of a vocabulary head, a slice of the tokens at a time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

SCORES_HELD = 2**23
"""How many scores are in memory at once: 32 MiB in single precision, a few hundred tokens of a large vocabulary."""
LANES = 16
"""Tokens are filled up to a multiple of this: a product whose rows are no whole vectors takes half as long again."""


def head_cross_entropy(states: Tensor, weight: Tensor, bias: Tensor, answers: Tensor) -> Tensor:
    """Give `cross_entropy(linear(states, weight, bias), answers)`, a scalar, without holding all the scores.

    `states` (tokens, H), `weight` (V, H), `bias` (V,), `answers` (tokens,) int64. The gradients are computed along
    with the loss, slice by slice, so that neither the scores (tokens, V) nor their gradient is ever whole in memory:
    that saves the time to write and read them again, and at B stories B * T * V * 8 bytes. Under autocast the
    products are taken in its precision, the softmax and all sums over slices in single.
    """
    return _HeadCrossEntropy.apply(states, weight, bias, answers, torch.is_grad_enabled())  # type: ignore[no-any-return]


class _HeadCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, bias: Tensor, answers: Tensor, training: bool) -> Tensor:
        kind = states.device.type
        precision = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
        with torch.autocast(kind, enabled=False):
            return _forward(ctx, states.to(precision), weight, bias, answers, training=training)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        gradients = ctx.saved_tensors
        # The loss mostly has weight 1, and then the large tables need no further pass.
        if upstream.device.type != "cpu" or upstream != 1:
            gradients = [gradient * upstream for gradient in gradients]
        return (*gradients, None, None)


def _forward(ctx: Any, states: Tensor, weight: Tensor, bias: Tensor, answers: Tensor, *, training: bool) -> Tensor:
    tokens, vocabulary = len(states), len(weight)
    single = torch.promote_types(states.dtype, torch.float32)
    low = weight.to(states.dtype)  # (V, H)
    filling = -tokens % LANES
    states, answers = functional.pad(states, (0, 0, 0, filling)), functional.pad(answers, (0, filling))
    share = functional.pad(states.new_full((tokens,), 1 / tokens, dtype=single), (0, filling))  # of each token's loss
    size = max(LANES, SCORES_HELD // vocabulary // LANES * LANES)
    held = states.new_empty(vocabulary * min(size, len(states)))
    loss = states.new_zeros((), dtype=single)
    if training:
        to_states, to_weight = torch.empty_like(states, dtype=single), torch.empty_like(weight)
        to_bias = torch.zeros_like(bias)
    for start in range(0, len(states), size):
        part = slice(start, start + size)
        some, answer, part_share = states[part], answers[None, part], share[part]  # (n, H), (1, n), (n,)
        # Tokens are the columns: with the large table on the left, all three products run faster.
        scores = torch.mm(low, some.T, out=held[: vocabulary * len(some)].view(vocabulary, -1))  # (V, n)
        scores = scores.to(single).add_(bias[:, None])
        scores -= scores.amax(dim=0)
        chosen = scores.gather(0, answer)[0]  # (n,)
        sums = scores.exp_().sum(dim=0)
        loss += part_share @ (sums.log() - chosen)
        if training:
            # The gradient of a token's scores: the softmax, less 1 at the answer.
            wrong = scores.div_(sums).scatter_add_(0, answer, -torch.ones_like(sums)[None])  # (V, n)
            to_bias.addmv_(wrong, part_share)
            wrong, shared = wrong.to(states.dtype), some * part_share[:, None].to(some.dtype)
            to_states[part] = (wrong.T @ low) * part_share[:, None]  # (n, V) x (V, H) -> (n, H)
            if states.dtype == weight.dtype:
                # (V, n) x (n, H) -> (V, H), added to what is there
                torch.addmm(to_weight, wrong, shared, beta=float(start > 0), out=to_weight)
            else:
                product = (wrong @ shared).to(weight.dtype)
                to_weight = to_weight.add_(product) if start else product
    if training:
        ctx.save_for_backward(to_states[:tokens], to_weight, to_bias)
    return loss
