"""The losses of text decoders, computed for a slice of the tokens at a time to bound the memory of scores.

`sum_over_parts` bounds the memory of activations likewise, for a loss that is a sum over parts of a batch.

Imports torch, so `vsr_cli.api` itself does not import it. Shapes: B stories, T tokens of a target, N real tokens of all
targets, H width of the states, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from .text_objective import TextObjective

SCORES_HELD = 2**23
"""How many scores are in memory at once: 32 MiB in single precision, a few hundred tokens of a large vocabulary."""
LANES = 16
"""Tokens are padded to a multiple of this: a product whose rows are not whole vectors takes 1.5 times as long."""
PLAIN = TextObjective()
"""The plain cross-entropy, as in validation and evaluation."""
LEAST_OTHERWISE = 1e-5
"""The lower bound, in the unlikelihood, of the probability not to write a token, whose logarithm is taken."""
Part = TypeVar("Part")


def head_loss(states: Tensor, head: nn.Linear, ids: Tensor, mask: Tensor, *, objective: TextObjective) -> Tensor:
    """Return the loss of a head (V, H) on states (B, T, H) for targets ids and mask (B, T), a scalar.

    `states` may also be those of the real tokens alone, (N, H). Outside of training, pass `PLAIN` as the `objective`.
    """
    real = mask.nonzero(as_tuple=True)  # looked up once, as a GPU is waited for
    if states.dim() == 3:
        states = states[real]  # (B, T, H) -> (N, H): padding is dropped before the head, by far the widest layer
    if objective.is_plain:
        bias = head.weight.new_zeros(len(head.weight)) if head.bias is None else head.bias
        return head_cross_entropy(states, head.weight, bias, ids[real])
    return sliced_loss(
        lambda part: at_least_single(head(states[part])).log_softmax(dim=-1),
        ids,
        mask,
        size=len(head.weight),
        objective=objective,
    )


def sliced_loss(
    log_probabilities: Callable[[slice], Tensor],
    ids: Tensor,
    mask: Tensor,
    *,
    size: int,
    objective: TextObjective,
) -> Tensor:
    """Return the loss of targets ids and mask (B, T), a scalar, from log-probabilities (n, V) of some of the N tokens.

    With label smoothing (Szegedy et al. 2016, "Rethinking the Inception Architecture for Computer Vision") and the
    unlikelihood of tokens that the target holds before (Welleck et al. 2020, "Neural Text Generation with Unlikelihood
    Training", equation 4). `size` is V. Each slice is recomputed in the backward pass.
    """
    answers = ids[mask]  # (N,)
    earlier, again = _earlier_tokens(ids, mask) if objective.unlikelihood else (None, None)

    def slice_sum(part: slice) -> Tensor:
        scores = log_probabilities(part)  # (n, V)
        losses = -scores.gather(1, answers[part, None])[:, 0]  # (n,)
        if objective.label_smoothing:
            losses = losses.lerp(-scores.mean(dim=1), objective.label_smoothing)
        if earlier is not None and again is not None:
            otherwise = 1 - scores.gather(1, earlier[part]).exp()  # (n, T)
            unlike = -otherwise.clamp(min=LEAST_OTHERWISE).log()
            losses = losses + objective.unlikelihood * (unlike * again[part]).sum(dim=1)
        return losses.sum()

    return _over_slices(slice_sum, len(answers), size=size).sum() / len(answers)


def answer_log_probabilities(states: Tensor, head: nn.Linear, answers: Tensor) -> Tensor:
    """Return the log-probability (N,) of each answer (N,) by a head (V, H), from states (N, H), slice by slice."""

    def some(part: slice) -> Tensor:
        scores = at_least_single(head(states[part]))  # (n, V)
        found: Tensor = scores.gather(1, answers[part, None])[:, 0] - scores.logsumexp(dim=1)
        return found

    return _over_slices(some, len(answers), size=len(head.weight))


def at_least_single(scores: Tensor) -> Tensor:
    """Return scores in single precision or better: a softmax in half precision is off by tenths of a nat."""
    return scores.to(torch.promote_types(scores.dtype, torch.float32))


def _over_slices(function: Callable[[slice], Tensor], tokens: int, *, size: int) -> Tensor:
    """Concatenate a function's results for slices of tokens whose scores, `size` each, fit in `SCORES_HELD`."""
    step = max(1, SCORES_HELD // size)
    slices = [slice(start, start + step) for start in range(0, tokens, step)]
    parts = [checkpoint(function, part, use_reentrant=False, preserve_rng_state=False) for part in slices]
    return torch.cat([part.reshape(-1) for part in parts])


def _earlier_tokens(ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return each real token's target (N, T), and a mask (N, T) of the tokens not to be repeated there.

    Those are the first occurrences of earlier tokens that differ from the token itself.
    """
    same = ids[:, :, None] == ids[:, None, :]  # (B, T, T)
    before = torch.ones_like(same).tril(-1)
    first = ~(same & before).any(dim=-1)  # (B, T)
    again = before & ~same & first[:, None]  # (B, T, T)
    targets = ids[:, None].expand_as(again)
    return targets[mask], again[mask]


def head_cross_entropy(states: Tensor, weight: Tensor, bias: Tensor, answers: Tensor) -> Tensor:
    """Return `cross_entropy(linear(states, weight, bias), answers)`, a scalar, without holding all the scores.

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
        gradients = _times(ctx.saved_tensors, upstream)  # of the states, and of weight and bias unless they are frozen
        return (*gradients, *[None] * (5 - len(gradients)))


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
    learned = ctx.needs_input_grad[1]
    if training:
        to_states = torch.empty_like(states, dtype=single)
    if training and learned:
        to_weight, to_bias = torch.empty_like(weight), torch.zeros_like(bias)
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
            if learned:
                to_bias.addmv_(wrong, part_share)
            wrong = wrong.to(states.dtype)
            to_states[part] = (wrong.T @ low) * part_share[:, None]  # (n, V) x (V, H) -> (n, H)
            if not learned:
                continue
            shared = some * part_share[:, None].to(some.dtype)
            if states.dtype == weight.dtype:
                # (V, n) x (n, H) -> (V, H), added to what is there
                torch.addmm(to_weight, wrong, shared, beta=float(start > 0), out=to_weight)
            else:
                product = (wrong @ shared).to(weight.dtype)
                to_weight = to_weight.add_(product) if start else product
    if training:
        ctx.save_for_backward(to_states[:tokens], *((to_weight, to_bias) if learned else ()))
    return loss


def sum_over_parts(
    loss_of: Callable[[Part, Tensor], Tensor], parts: Sequence[Part], inputs: Tensor, weights: Sequence[Tensor]
) -> Tensor:
    """Return the sum of the scalars `loss_of(part, inputs)` with the activations of one part in memory at a time.

    There is at least one part. The gradients are computed along with the losses, and nothing is computed twice. They
    are those of `inputs` and `weights`: what `loss_of` computes may depend on no other tensor that has a gradient.
    """
    trained = [weight for weight in weights if weight.requires_grad]
    wanted = torch.is_grad_enabled() and (inputs.requires_grad or bool(trained))
    kind = inputs.device.type
    # In half precision, gradients that are not scaled yet would vanish.
    scaled = torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == torch.float16
    if len(parts) == 1 or scaled or not wanted:
        return torch.stack([loss_of(part, inputs) for part in parts]).sum()
    return _SumOverParts.apply(loss_of, parts, inputs, *trained)  # type: ignore[no-any-return]


class _SumOverParts(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, loss_of: Callable[[Part, Tensor], Tensor], parts: Sequence[Part], inputs: Tensor, *weights: Tensor
    ) -> Tensor:
        own = inputs.detach().requires_grad_(ctx.needs_input_grad[2])
        wanted = [own, *weights] if own.requires_grad else list(weights)
        total = inputs.new_zeros((), dtype=torch.promote_types(inputs.dtype, torch.float32))
        sums: list[Tensor | None] = [None] * len(wanted)  # a weight that is not used has none

        def add(part: Part) -> None:  # a function, so that its graph and gradients are gone before the next part
            with torch.enable_grad():
                loss = loss_of(part, own)
            total.add_(loss.detach())
            if not loss.requires_grad:
                return
            for index, more in enumerate(torch.autograd.grad(loss, wanted, allow_unused=True)):
                if more is not None:
                    known = sums[index]
                    sums[index] = more if known is None else known + more  # a gradient may share memory with another

        for part in parts:
            add(part)
        ctx.save_for_backward(*sums)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        return (None, None, *([] if ctx.needs_input_grad[2] else [None]), *_times(ctx.saved_tensors, upstream))


def _times(gradients: Sequence[Tensor | None], upstream: Tensor) -> Sequence[Tensor | None]:
    """Return the gradients of a loss multiplied by that of the loss itself, a scalar."""
    # The loss mostly has weight 1, and then the large tables need no further pass.
    if upstream.device.type == "cpu" and upstream == 1:
        return gradients
    return [None if gradient is None else gradient * upstream for gradient in gradients]
