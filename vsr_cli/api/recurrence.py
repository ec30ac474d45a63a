"""Running the recurrent networks of torch: under mixed precision, and with a faster gradient on a CPU.

Imports torch, so `vsr_cli.api` itself does not import it. Shapes: B stories, T steps, I inputs, H width of the state.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def run_recurrent(network: nn.RNNBase, inputs: Tensor, state: Tensor | None = None) -> tuple[Tensor, Any]:
    """Return the outputs and the last state of a GRU, LSTM or Elman network, as calling it does.

    Under bfloat16 on a GPU the network runs in single precision: torch's autocast would let cuDNN compute in float16,
    in which small gradients vanish without a loss scaler, and which torch refuses to join with bfloat16.
    """
    kind = inputs.device.type
    mixed = torch.is_autocast_enabled(kind)
    if kind == "cuda" and mixed and torch.get_autocast_dtype(kind) == torch.bfloat16:
        with torch.autocast(kind, enabled=False):
            found: tuple[Tensor, Any] = network(inputs.float(), None if state is None else state.float())
            return found
    # In training and prediction alike, so that the same weights give the same numbers. Compilers know torch's own.
    if kind == "cpu" and not mixed and _is_plain_gru(network) and not torch.compiler.is_compiling():
        return _run_gru(network, inputs, state)
    found = network(inputs, state)
    return found


def _is_plain_gru(network: nn.RNNBase) -> bool:
    """Whether this is a GRU of one layer, in one direction, with biases, that reads (B, T, I)."""
    single = network.num_layers == 1 and not network.bidirectional
    return type(network) is nn.GRU and single and network.bias and network.batch_first


def _run_gru(network: nn.RNNBase, inputs: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
    first = inputs.new_zeros(len(inputs), network.hidden_size) if state is None else state[0]
    steps = inputs.transpose(0, 1).contiguous()  # (B, T, I) -> (T, B, I)
    outputs: Tensor = _Gru.apply(steps, first, *network.all_weights[0])
    return outputs.transpose(0, 1), outputs[-1:]


class _Gru(torch.autograd.Function):
    """torch's GRU on steps (T, B, I) from a state (B, H), whose gradient of the weights is one product for all steps.

    torch itself adds a matrix (3H, H) to that gradient at each step. At the design's batch of 2 and 32 steps this is
    most of the time of the GRU, and none of it uses a second core.

    The equations are those of `torch.nn.GRU`, with gates r, z and n in this order.
    """

    @staticmethod
    def forward(
        ctx: Any, steps: Tensor, first: Tensor, into: Tensor, across: Tensor, into_bias: Tensor, across_bias: Tensor
    ) -> Tensor:
        length, stories, _ = steps.shape
        width = across.shape[1]
        given = torch.addmm(into_bias, steps.flatten(0, 1), into.T).view(length, stories, 3 * width)
        states = steps.new_empty(length + 1, stories, width)
        gates = steps.new_empty(length, stories, 2 * width)  # r and z
        recalled, new = (steps.new_empty(length, stories, width) for _ in range(2))  # W h + b of n, and n
        carried = steps.new_empty(stories, 3 * width)
        carried_gates, carried_new = carried[:, : 2 * width], carried[:, 2 * width :]
        states[0] = first
        # The views of all steps are made at once: making one takes as long as computing with it.
        state, gate, recall, candidate = (each.unbind() for each in (states, gates, recalled, new))
        reset, update = gates[..., :width].unbind(), gates[..., width:].unbind()
        given_gates, given_new = given[..., : 2 * width].unbind(), given[..., 2 * width :].unbind()
        for t in range(length):
            torch.addmm(across_bias, state[t], across.T, out=carried)
            torch.add(given_gates[t], carried_gates, out=gate[t]).sigmoid_()
            recall[t].copy_(carried_new)
            torch.addcmul(given_new[t], reset[t], carried_new, out=candidate[t]).tanh_()
            torch.lerp(candidate[t], state[t], update[t], out=state[t + 1])
        ctx.save_for_backward(steps, into, across, states, gates, recalled, new)
        return states[1:].clone()  # so that nobody who changes the outputs changes what backward reads

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        steps, into, across, states, gates, recalled, new = ctx.saved_tensors
        length, stories, width = new.shape
        reset, update = gates[..., :width], gates[..., width:]
        # The gradient of each gate before its nonlinearity is that of the state after the step times a factor.
        of_new = (1 - update) * (1 - new * new)
        of_reset = of_new * recalled * reset * (1 - reset)
        of_update = (states[:-1] - new) * update * (1 - update)
        factors = torch.stack([of_reset, of_update, of_new * reset], dim=2)  # (T, B, 3, H)
        to_gates = torch.empty_like(factors)
        after = torch.empty_like(new)  # the gradient of the state after each step
        before = upstream.new_zeros(stories, width)
        given, kept, factor, to_gate, own = (each.unbind() for each in (upstream, update, factors, to_gates, after))
        for t in range(length - 1, -1, -1):
            torch.add(given[t], before, out=own[t])
            torch.mul(factor[t], own[t][:, None], out=to_gate[t])
            before = torch.addmm(own[t] * kept[t], to_gate[t].flatten(1), across)
        to_across = to_gates.view(-1, 3 * width)  # (T * B, 3H)
        to_into = torch.cat([to_across[:, : 2 * width], (after * of_new).view(-1, width)], dim=1)
        wanted = ctx.needs_input_grad
        return (
            (to_into @ into).view_as(steps) if wanted[0] else None,
            before,
            to_into.T @ steps.flatten(0, 1) if wanted[2] else None,
            to_across.T @ states[:-1].flatten(0, 1) if wanted[3] else None,
            to_into.sum(dim=0) if wanted[4] else None,
            to_across.sum(dim=0) if wanted[5] else None,
        )
