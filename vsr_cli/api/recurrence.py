"""Running the recurrent networks of torch under mixed precision.

Imports torch, so `vsr_cli.api` itself does not import it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def run_recurrent(network: nn.RNNBase, inputs: Tensor, state: Tensor | None = None) -> tuple[Tensor, Any]:
    """Return the outputs and the last state of a GRU, LSTM or Elman network, as calling it does.

    Under bfloat16 on a GPU the network runs in single precision: torch's autocast would let cuDNN compute in float16,
    in which small gradients vanish without a loss scaler, and which torch refuses to join with bfloat16.
    """
    kind = inputs.device.type
    if kind != "cuda" or not torch.is_autocast_enabled(kind) or torch.get_autocast_dtype(kind) != torch.bfloat16:
        found: tuple[Tensor, Any] = network(inputs, state)
        return found
    with torch.autocast(kind, enabled=False):
        found = network(inputs.float(), None if state is None else state.float())
        return found
