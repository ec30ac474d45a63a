"""Arrays addressed by content: rows of one shape, each under a key, in files that are only ever added.

A folder of shards `rows-00000.safetensors`, each with the rows, their keys and perhaps a few numbers a row. A shard
is written whole or not at all and never changed, so that a process killed at any moment leaves a store that is
right as far as it goes: the next one asks for what is missing and adds it. Shards are cut by count, so that a store
that was filled in two goes holds the same bytes as one filled in one.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from ..errors import VsrError
from ..files import replacing, writing

KEY_BYTES = 16
SHARD_BYTES = 32 * 2**20
"""About how many bytes of rows a shard holds."""
_DTYPES = {"U8": np.uint8, "F16": np.float16, "F32": np.float32}


def key_of(*parts: bytes | str) -> bytes:
    """Digest content into a key: the first 16 bytes of a SHA-256 over the parts and their lengths."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.digest()[:KEY_BYTES]


class KeyedRows:
    """A store of rows that has been opened. Rows are numbered in the order in which they were added."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._shards: list[NDArray[Any]] = []
        self._starts = [0]
        self._row_of: dict[bytes, int] = {}
        self._numbers: list[dict[str, NDArray[Any]]] = []
        for path in sorted(folder.glob("rows-*.safetensors")):
            self._map(path)

    def __len__(self) -> int:
        return self._starts[-1]

    def __contains__(self, key: bytes) -> bool:
        return key in self._row_of

    @property
    def shards(self) -> int:
        """How many files there are."""
        return len(self._shards)

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The shape of one row. The store must not be empty."""
        return tuple(self._shards[0].shape[1:])

    def rows(self, keys: Iterable[bytes]) -> NDArray[np.int64]:
        """Give the numbers of the rows with these keys. Raises KeyError if one is not there."""
        return np.asarray([self._row_of[key] for key in keys], dtype=np.int64)

    def number(self, name: str) -> NDArray[Any]:
        """Give one of the numbers that each row has, for all rows, (n,)."""
        return np.concatenate([numbers[name] for numbers in self._numbers])

    def gather(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Copy the rows with these numbers, of any shape: (*numbers, *row)."""
        flat = rows.reshape(-1)
        starts = np.asarray(self._starts)
        shards = np.searchsorted(starts, flat, side="right") - 1
        found = np.empty((len(flat), *self.row_shape), dtype=self._shards[0].dtype)
        for index in np.unique(shards):
            here = shards == index
            found[here] = self._shards[index][flat[here] - starts[index]]
        return found.reshape(*rows.shape, *self.row_shape)

    def _map(self, path: Path) -> None:
        tensors = map_tensors(path)
        rows, keys = tensors.pop("rows"), tensors.pop("keys")
        for offset, key in enumerate(np.asarray(keys)):
            self._row_of[key.tobytes()] = self._starts[-1] + offset
        self._shards.append(rows)
        self._numbers.append({name: np.array(values) for name, values in tensors.items()})
        self._starts.append(self._starts[-1] + len(rows))


class KeyedRowsWriter:
    """Adds rows to a store, in order; a key that is there already is left as it is.

    A context manager: what has not filled a shard yet is written when the block ends well, and lost otherwise.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._store = KeyedRows(folder)
        self._rows: list[NDArray[Any]] = []
        self._numbers: list[Mapping[str, float]] = []
        self._pending: dict[bytes, int] = {}
        self._next_shard = self._store.shards

    def __contains__(self, key: bytes) -> bool:
        return key in self._store or key in self._pending

    def add(self, key: bytes, row: NDArray[Any], **numbers: float) -> None:
        """Add a row and its numbers. All rows have one shape and type, and numbers of the same names."""
        if key in self:
            return
        self._pending[key] = len(self._pending)
        self._rows.append(row)
        self._numbers.append(numbers)
        if len(self._rows) * row.nbytes >= SHARD_BYTES:
            self._flush()

    def __enter__(self) -> KeyedRowsWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._rows:
            self._flush()

    def _flush(self) -> None:
        path = self._store.folder / f"rows-{self._next_shard:05d}.safetensors"
        tensors: dict[str, NDArray[Any]] = {
            "rows": np.stack(self._rows),
            "keys": np.frombuffer(b"".join(self._pending), dtype=np.uint8).reshape(-1, KEY_BYTES),
        }
        for name in self._numbers[0]:
            tensors[name] = np.asarray([numbers[name] for numbers in self._numbers], dtype=np.float32)
        with replacing(path) as temporary, writing(path):
            save_file(tensors, temporary)
        self._store._map(path)
        self._next_shard += 1
        self._rows, self._numbers, self._pending = [], [], {}


def map_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """Map the tensors of a safetensors file: eight bytes of header length, a JSON header, the data.

    The library reads tensors whole or by slice; only a map lets a batch touch just its own rows. Raises VsrError
    if the file is something else or cut short.
    """
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length))
        return {
            name: np.memmap(
                path,
                mode="r",
                dtype=_DTYPES[entry["dtype"]],
                shape=tuple(entry["shape"]),
                offset=8 + length + entry["data_offsets"][0],
            )
            for name, entry in header.items()
            if name != "__metadata__"
        }
    except (OSError, ValueError, KeyError, struct.error, MemoryError, OverflowError) as error:
        raise VsrError(f"{path}: not a shard of vsr or cut short ({error}); remove it and prepare again") from error
