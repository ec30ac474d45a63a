"""Copying arrays to the device."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray


def to_device(array: NDArray[np.generic], device: torch.device) -> torch.Tensor:
    """Return an array as a tensor on the device, which shares the array's memory on the CPU."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if device.type != "cuda":
        return tensor.to(device)
    # From pinned memory a GPU copies while the program goes on; otherwise it would wait for all work before each copy.
    return tensor.pin_memory().to(device, non_blocking=True)
