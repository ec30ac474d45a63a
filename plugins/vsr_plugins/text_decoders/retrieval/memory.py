"""What is chosen from, and the choice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vsr_cli.api import VsrError


class Memory(nn.Module):
    """The vectors (M, d) of M candidates, and whatever is kept of each; no weights, but a file among a run's assets."""

    vectors: Tensor

    def __init__(self, folder: Path | None) -> None:
        super().__init__()
        self.kept: Mapping[str, Tensor] = {}
        self.register_buffer("vectors", torch.zeros(0, 0), persistent=False)
        self._keys: Tensor | None = None
        if folder is not None:
            path = folder / "memory.safetensors"
            try:
                kept = load_file(path)
                self.remember(kept.pop("vectors"), kept)
            except (OSError, KeyError, safetensors.SafetensorError) as error:
                raise VsrError(f"{path}: this memory cannot be read ({error}); train anew") from error

    def remember(self, vectors: Tensor, kept: Mapping[str, Tensor]) -> None:
        """Take the vectors (M, d) of candidates and what is kept of them."""
        self.vectors = vectors.to(self.vectors.device)
        self.kept = dict(kept)
        self._keys = None

    def save(self, folder: Path) -> None:
        """Write it all into a folder of assets."""
        save_file({"vectors": self.vectors.cpu(), **self.kept}, folder / "memory.safetensors")

    def best(self, query: Tensor, keys_of: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the place of the candidate that fits each query (B, e) best, (B,), by the keys that vectors have."""
        if self._keys is None or self._keys.device != query.device:
            self._keys = keys_of(self.vectors)  # (M, e); their metric was fitted before the first step and stays
        return (query @ self._keys.T).argmax(dim=1)
