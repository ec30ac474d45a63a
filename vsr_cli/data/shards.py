"""Arrays too large for memory: rows in safetensors files, read through memory maps."""

from __future__ import annotations

import errno
import math
import mmap
import os
import struct
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from ..errors import VsrError
from ..files import replacing, writing
from ..strict_json import from_json
from ..system_errors import refuse_system_error

ROWS = "rows"
"""The tensor of a shard that its rows are in; others may stand beside it."""
OPEN_MAPS = 2048
"""Shards that are mapped at a time: a system allows some 65,000 maps a process, and a collection may have more."""
_DTYPES = {"U8": np.uint8, "F16": np.float16, "F32": np.float32, "I32": np.int32, "I64": np.int64, "U64": np.uint64}


def save_shard(path: Path, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Write the tensors of a shard, whole or not at all. Raises VsrError if they cannot be written."""
    with replacing(path) as temporary, writing(path):
        save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, temporary)


def map_shard(path: Path) -> dict[str, NDArray[Any]]:
    """Map the tensors of a safetensors file: eight bytes of header length, a JSON header, the data.

    The library reads tensors whole or by slice; only a map lets a batch touch just its own rows.
    Raises VsrError if the file is not whole.
    """
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > os.fstat(file.fileno()).st_size:
                raise ValueError("its header is longer than the file")
            header = dict(from_json(file.read(length)))
            # One map a file: a map keeps a descriptor, of which a process has few.
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        header.pop("__metadata__", None)
        tensors: dict[str, NDArray[Any]] = {}
        for name, entry in header.items():
            dtype, shape = np.dtype(_DTYPES[entry["dtype"]]), tuple(entry["shape"])
            if min(shape, default=0) < 0:
                raise ValueError(f"{name} has the shape {shape}")
            count = math.prod(shape)
            start = 8 + length + entry["data_offsets"][0]
            flat: NDArray[Any] = np.frombuffer(mapped, dtype, count, start) if count else np.empty(0, dtype)
            tensors[name] = flat.reshape(shape)
    except (OSError, ValueError, KeyError, TypeError, OverflowError, struct.error, MemoryError) as error:
        refuse_system_error(error, path)
        raise VsrError(
            f"{path}: not a shard of vsr or cut short ({error}); remove the file and run 'vsr prepare' again"
        ) from error
    return tensors


class Rows(Protocol):
    """Rows (n, *row), wherever they are."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def gather(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Copy the rows with these indices, of any shape: (*indices, *row)."""
        ...


class MappedRows:
    """Rows (n, *row) that lie one after the other in the shards of some files. Nothing is read before it is asked for.

    `counts` says how many rows are in each file, `row_shape` and `dtype` what a row is.
    """

    def __init__(
        self, paths: Sequence[Path], counts: Sequence[int], *, row_shape: tuple[int, ...], dtype: type[np.generic]
    ) -> None:
        self.row_shape = row_shape
        self.dtype = dtype
        self._paths = list(paths)
        self._starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)
        self._maps: OrderedDict[int, NDArray[Any]] = OrderedDict()

    def __len__(self) -> int:
        return int(self._starts[-1])

    def gather(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Copy the rows with these indices, of any shape: (*indices, *row)."""
        flat = rows.reshape(-1)
        shards = np.searchsorted(self._starts, flat, side="right") - 1
        found = np.empty((len(flat), *self.row_shape), dtype=self.dtype)
        for index in np.unique(shards).tolist():
            here = shards == index
            found[here] = self._map(index)[flat[here] - self._starts[index]]
        return found.reshape(*rows.shape, *self.row_shape)

    def _map(self, index: int) -> NDArray[Any]:
        if index in self._maps:
            self._maps.move_to_end(index)
            return self._maps[index]
        path = self._paths[index]
        try:
            mapped = map_shard(path).get(ROWS)
        except VsrError as error:
            if not (self._maps and isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EMFILE):
                raise
            self._maps.clear()  # each map keeps a file open, and this process may have no more of them
            mapped = map_shard(path).get(ROWS)
        expected = (int(self._starts[index + 1] - self._starts[index]), *self.row_shape)
        if mapped is None or mapped.shape != expected or mapped.dtype != self.dtype:
            raise VsrError(f"{path}: does not hold the rows that it should; remove it and run 'vsr prepare' again")
        self._maps[index] = mapped
        if len(self._maps) > OPEN_MAPS:
            self._maps.popitem(last=False)
        return mapped


class ArrayRows:
    """Rows that are in memory already, with the same reading as MappedRows."""

    def __init__(self, rows: NDArray[Any]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def gather(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Copy the rows with these indices, of any shape: (*indices, *row)."""
        found: NDArray[Any] = self._rows[rows]
        return found


class ChosenRows:
    """Some rows of others, by index: row i is row `chosen[i]` there. -1: it is not there, and must not be asked for."""

    def __init__(self, rows: Rows, chosen: NDArray[np.int64]) -> None:
        self._rows = rows
        self._chosen = chosen

    def __len__(self) -> int:
        return len(self._chosen)

    def gather(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Copy the rows with these indices, of any shape: (*indices, *row)."""
        chosen = self._chosen[rows]
        assert chosen.min(initial=0) >= 0, "a row was asked for that is not kept"
        return self._rows.gather(chosen)


def folder_bytes(folder: Path) -> int:
    """Add up the sizes of the files below a folder."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # removed by another process while this one counts
                total += (Path(place) / name).lstat().st_size
    return total
