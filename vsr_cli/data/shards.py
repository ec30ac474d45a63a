"""Arrays too large for memory: rows in safetensors files of bounded size, read through memory maps."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from ..errors import VsrError
from ..files import writing

SHARD_BYTES = 64 * 2**20
"""How much a writer holds in memory before it writes a shard."""
_DTYPES = {"U8": np.uint8, "F16": np.float16, "F32": np.float32}
_TENSOR = "rows"


class ShardWriter:
    """Writes rows of one shape and type to a folder, in order."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._rows: list[NDArray[Any]] = []
        self._bytes = 0
        self._shards = 0
        self.count = 0
        """Rows so far."""

    def append(self, rows: NDArray[Any]) -> None:
        """Add rows (n, *row). A shard is written when enough have come together."""
        for row in rows:
            self._rows.append(row)
            self._bytes += row.nbytes
            if self._bytes >= SHARD_BYTES:
                self._flush()
        self.count += len(rows)

    def close(self) -> None:
        """Write what is left."""
        if self._rows:
            self._flush()

    def _flush(self) -> None:
        path = self._folder / f"rows-{self._shards:05d}.safetensors"
        with writing(path):
            save_file({_TENSOR: np.ascontiguousarray(np.stack(self._rows))}, path)
        self._shards += 1
        self._rows, self._bytes = [], 0


class ShardedArray:
    """Rows (n, *row) in the shards of a folder. Nothing is read before it is asked for."""

    def __init__(self, folder: Path) -> None:
        self._shards = [_map_rows(path) for path in sorted(folder.glob("rows-*.safetensors"))]
        if not self._shards:
            raise VsrError(f"{folder}: holds no rows-*.safetensors; prepare the data anew")
        self._starts = np.cumsum([0, *(len(shard) for shard in self._shards)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The shape of one row."""
        return tuple(self._shards[0].shape[1:])

    def gather(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Copy the rows with these indices, of any shape: (*indices, *row)."""
        flat = rows.reshape(-1)
        shards = np.searchsorted(self._starts, flat, side="right") - 1
        found = np.empty((len(flat), *self.row_shape), dtype=self._shards[0].dtype)
        for index in np.unique(shards):
            here = shards == index
            found[here] = self._shards[index][flat[here] - self._starts[index]]
        return found.reshape(*rows.shape, *self.row_shape)


class ArrayRows:
    """Rows that are in memory already, with the same reading as a ShardedArray."""

    def __init__(self, rows: NDArray[Any]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def gather(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Copy the rows with these indices, of any shape: (*indices, *row)."""
        found: NDArray[Any] = self._rows[rows]
        return found


Rows = ShardedArray | ArrayRows


def _map_rows(path: Path) -> NDArray[Any]:
    """Map the one tensor of a safetensors file: eight bytes of header length, a JSON header, the data.

    The library reads tensors whole or by slice; only a map lets a batch touch just its own rows.
    """
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length))
        entry = header[_TENSOR]
        mapped: NDArray[Any] = np.memmap(
            path,
            mode="r",
            dtype=_DTYPES[entry["dtype"]],
            shape=tuple(entry["shape"]),
            offset=8 + length + entry["data_offsets"][0],
        )
    except (OSError, ValueError, KeyError, TypeError, OverflowError, struct.error, MemoryError) as error:
        raise VsrError(f"{path}: not a shard of vsr or cut short ({error}); prepare the data anew") from error
    return mapped


def folder_bytes(folder: Path) -> int:
    """Add up the sizes of the files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
