"""The candidates of the `retrieval` decoders, stored with the run, and their nearest-neighbor search."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vsr_cli.api import Narrative, NextQuery, VsrError

FILE = "memory.safetensors"


class Memory(nn.Module):
    """The vectors (M, d) of M candidates, and tensors stored with them; a file among a run's assets, not weights."""

    vectors: Tensor

    def __init__(self, folder: Path | None) -> None:
        super().__init__()
        self.kept: Mapping[str, Tensor] = {}
        self.register_buffer("vectors", torch.zeros(0, 0), persistent=False)
        self._keys: Tensor | None = None
        if folder is not None:
            path = folder / FILE
            try:
                kept = load_file(path)
                self.remember(kept.pop("vectors"), kept)
            except (OSError, KeyError, safetensors.SafetensorError) as error:
                raise VsrError(f"{path}: the retrieval memory cannot be read ({error}); train again") from error

    def remember(self, vectors: Tensor, kept: Mapping[str, Tensor]) -> None:
        """Replace the candidates by their vectors (M, d) and the tensors to store with them."""
        self.vectors = vectors.to(self.vectors.device)
        self.kept = dict(kept)
        self._keys = None

    def save(self, folder: Path) -> None:
        """Write the candidates into a folder of assets."""
        save_file({"vectors": self.vectors.cpu(), **self.kept}, folder / FILE)

    def best(self, query: Tensor, keys_of: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the index of the candidate with the highest cosine to each query (B, e), (B,)."""
        if self._keys is None or self._keys.device != query.device:
            self._keys = keys_of(self.vectors)  # (M, e); `keys_of` does not change after the first training step
        return (query @ self._keys.T).argmax(dim=1)


def query_of(narrative: Narrative) -> NextQuery:
    """Return the query of the next_frame objective."""
    assert narrative.next is not None, "a model is not built without the objective that this decoder needs"
    return narrative.next


def untrainable(space: str, remedy: str) -> VsrError:
    """Return the error for an encoder without frozen features, which change while it trains."""
    return VsrError(
        f"retrieval: the {space} encoder trains from its first layer and has no fixed vectors; use {remedy}"
    )
