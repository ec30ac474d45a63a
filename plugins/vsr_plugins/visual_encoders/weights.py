"""Load weights from a file without running code, and copy them into a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http.client import HTTPException
from pathlib import Path

import torch
from torch import Tensor, nn

from vsr_cli.api import VsrError, read_tensors, reading_errors

UNREADABLE: tuple[type[Exception], ...] = (HTTPException, *reading_errors())
"""Errors of the libraries that download and read weights."""
SUFFIXES = (".safetensors", ".pt", ".pth")


@torch.no_grad()
def fill(network: nn.Module, tensors: Mapping[str, Tensor], *, source: str, owner: str, aside: tuple[str, ...]) -> None:
    """Copy tensors into a network, except those whose names start with one of `aside`.

    Raises VsrError if names or shapes differ from the network's.
    """
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith(aside)}
    # A state dict without version metadata may lack these counters, which are not used.
    counters = {name for name in network.state_dict() if name.endswith("num_batches_tracked")}
    expected = network.state_dict()
    missing = sorted(expected.keys() - counters - kept.keys())
    unexpected = sorted(kept.keys() - expected.keys())
    misshapen = sorted(name for name in expected.keys() & kept.keys() if expected[name].shape != kept[name].shape)
    for problem, names in (("lacks", missing), ("has unknown", unexpected), ("has misshapen", misshapen)):
        if names:
            raise VsrError(
                f"{source}: not the weights of {owner} ({problem} {len(names)} tensors, such as {names[0]}); "
                "name a file written from that network's state_dict() by --set visual.weights=PATH"
            )
    network.load_state_dict(kept, strict=False)


def read_weights(path: Path, *, names: Sequence[str]) -> Mapping[str, Tensor]:
    """Read a state dict from a .safetensors, .pt or .pth file without running code. Raises VsrError.

    `names` are the named weights, for the error.
    """
    remedy = f"choose {', '.join(names)}, random or a {', '.join(SUFFIXES)} file by --set visual.weights=..."
    if path.suffix not in SUFFIXES or not path.is_file():
        raise VsrError(f"visual encoder: no such weights (got {path}); {remedy}")
    return read_tensors(path, remedy=remedy)
