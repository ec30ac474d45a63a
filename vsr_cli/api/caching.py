"""The cache key of an encoder's frozen features. Imports torch only when called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def content_key(tensors: Mapping[str, Tensor], **facts: object) -> str:
    """Return a cache key, 32 hexadecimal digits of a SHA-256: equal keys mean equal frozen features.

    `tensors` is a state dict or a part of one; `facts` are all else that the result depends on (resolution,
    normalization, layer, tokenizer).
    """
    import hashlib

    import torch

    digest = hashlib.sha256()
    for name in sorted(facts):
        digest.update(f"{name}={facts[name]!r};".encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)};".encode())
        digest.update(tensor.reshape(-1).view(dtype=torch.uint8).numpy().data)
    return digest.hexdigest()[:32]
