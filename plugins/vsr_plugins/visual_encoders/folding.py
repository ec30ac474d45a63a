"""Batch normalization folded into convolutions, for a frozen network that encodes many images."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

SAME = 1e-4
"""Largest difference of the output, relative to the largest value; folding changes it by less than a hundredth."""


@torch.no_grad()
def folded(network: nn.Module, pixels: Tensor) -> nn.Module:
    """Return a copy of a network in eval mode in which batch normalizations are part of the convolutions before them.

    The normalizations are found by running the network on some pixels (N, 3, size, size). Returns the network itself if
    there is none, or if the copy does not return the same.
    """
    with torch.autocast("cpu", enabled=False):  # features may be computed in bf16, which would hide a difference
        pairs = _pairs(network, pixels)
        if not pairs:
            return network
        made = deepcopy(network)
        for convolution, normalization in pairs:
            fused: nn.Module = cast(Any, fuse_conv_bn_eval)(
                made.get_submodule(convolution), made.get_submodule(normalization)
            )
            made.set_submodule(convolution, fused.to(memory_format=torch.channels_last))
            made.set_submodule(normalization, nn.Identity())
        expected = network(pixels)
        # A convolution whose output is also read elsewhere cannot be folded; that shows here.
        return made if (made(pixels) - expected).abs().max() <= SAME * expected.abs().max() else network


def _pairs(network: nn.Module, pixels: Tensor) -> list[tuple[str, str]]:
    """Return the names of convolutions and of the normalizations that read their outputs, each called once."""
    outputs: list[tuple[str, Tensor]] = []
    inputs: list[tuple[str, Tensor]] = []
    hooks = []
    for name, module in network.named_modules():
        if type(module) is nn.Conv2d:
            hooks.append(
                module.register_forward_hook(lambda _module, _given, made, name=name: outputs.append((name, made)))
            )
        elif type(module) is nn.BatchNorm2d and module.track_running_stats:
            hooks.append(
                module.register_forward_pre_hook(lambda _module, given, name=name: inputs.append((name, given[0])))
            )
    try:
        network(pixels[:1])
    finally:
        for hook in hooks:
            hook.remove()
    convolutions = [name for name, _ in outputs]
    normalizations = [name for name, _ in inputs]
    made_by = {id(tensor): name for name, tensor in outputs}
    return [
        (made_by[id(tensor)], name)
        for name, tensor in inputs
        if id(tensor) in made_by and convolutions.count(made_by[id(tensor)]) == 1 and normalizations.count(name) == 1
    ]
