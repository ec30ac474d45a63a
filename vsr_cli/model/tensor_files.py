"""Writing tensors as safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor


def write_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors to a file under their names, from any device.

    Those that share memory, such as tied weights, are each written whole, so loading needs no knowledge of it. Only
    those are copied: at the end of a training step, copies of all would be the peak of memory. Raises OSError or
    SafetensorError if the file cannot be written.
    """
    plain: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        own = tensor.detach().cpu().contiguous()
        place = own.untyped_storage().data_ptr()
        plain[name] = own.clone() if place in seen else own
        seen.add(place)
    save_file(plain, path)
