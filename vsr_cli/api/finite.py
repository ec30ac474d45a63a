"""Search for NaN and infinity in tensors, in one pass without copies.

Imports torch, so `vsr_cli.api` itself does not import it.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def first_not_finite(tensors: Iterable[tuple[str, Tensor]], *, masks: bool = False) -> str | None:
    """Return the name of the first tensor that holds NaN or infinity, None if all are finite.

    With `masks`, minus infinity is allowed, as in attention masks.
    """
    names: list[str] = []
    extremes: list[Tensor] = []
    for name, tensor in tensors:
        values = tensor.detach()
        if values.is_complex():
            values = torch.view_as_real(values)
        if not values.is_floating_point() or not values.numel():
            continue
        lowest, highest = values.aminmax()  # both are NaN if any number is
        finite = highest.isfinite() if not masks else ~highest.isnan() & (highest < torch.inf)
        names.append(name)
        extremes.append(finite if masks else finite & lowest.isfinite())
    if not extremes:
        return None
    flags = torch.stack(extremes).tolist()  # one synchronization with the device for all tensors
    return next((name for name, finite in zip(names, flags, strict=True) if not finite), None)


def weight_not_finite(model: nn.Module) -> str | None:
    """Return the name of a weight or stored buffer that is not finite, None if all are."""
    stored = model.state_dict().keys()
    buffers = ((name, buffer) for name, buffer in model.named_buffers() if name in stored)
    return first_not_finite(model.named_parameters()) or first_not_finite(buffers, masks=True)
