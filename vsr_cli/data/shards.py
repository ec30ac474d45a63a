"""Arrays too large for memory: rows in safetensors files, read through memory maps."""

from __future__ import annotations

import errno
import math
import mmap
import operator
import os
import struct
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import xxhash
from numpy.typing import NDArray
from safetensors.numpy import save_file

from ..errors import DamagedFile, VsrError
from ..files.atomic import replacing, writing
from ..files.checksums import PIECE
from ..files.strict_json import from_json, to_json
from ..system_errors import refuse_system_error

ROWS = "rows"
"""The tensor of a shard that holds its rows; it may have others."""
CHECKSUMS = "checksums"
"""The entry of a shard's metadata that holds the checksum of each tensor, as JSON."""
REMEDY = "run the same 'vsr prepare' again to restore it"
OPEN_MAPS = 2048
"""Maximum number of mapped shards: a system allows about 65,000 maps per process, and data may have more shards."""
_DTYPES = {
    "U8": np.uint8, "F16": np.float16, "F32": np.float32, "F64": np.float64, "I32": np.int32, "I64": np.int64,
    "U32": np.uint32, "U64": np.uint64,
}  # fmt: skip


_MALFORMED = (ValueError, KeyError, TypeError, AttributeError, OverflowError, struct.error)
"""Errors of reading a malformed header."""


class Shard(Mapping[str, NDArray[Any]]):
    """The memory-mapped tensors of a shard. The checksum of a tensor is verified on first access.

    So opening a shard reads little, and damage is noticed before a tensor is used.
    """

    def __init__(
        self,
        path: Path,
        tensors: Mapping[str, NDArray[Any]],
        *,
        mapped: mmap.mmap,
        checksums: Mapping[str, str],
        remedy: str,
    ) -> None:
        self._path = path
        self._mapped = mapped
        self._tensors = tensors
        self._checksums = checksums
        self._remedy = remedy
        facts = path.stat()
        self._key = (str(path), facts.st_size, facts.st_mtime_ns, facts.st_ino)

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return a tensor. Raises DamagedFile if its checksum differs."""
        tensor = self._tensors[name]
        if (*self._key, name) not in _verified:
            if _checksum(name, tensor) != self._checksums[name]:
                what = f"the checksum of its tensor '{name}' differs"
                raise DamagedFile(f"{self._path}: is damaged: {what}; {self._remedy}")
            _verified.add((*self._key, name))
            if hasattr(mmap, "MADV_DONTNEED"):
                self._mapped.madvise(mmap.MADV_DONTNEED)  # otherwise all verified pages count as memory of this process
        return tensor

    def __contains__(self, name: object) -> bool:
        """Return whether there is a tensor of this name, without reading it."""
        return name in self._tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def unread(self, name: str) -> NDArray[Any]:
        """Return a tensor without verifying it, for its shape and dtype only."""
        return self._tensors[name]


_verified: set[tuple[str, int, int, int, str]] = set()
"""Tensors that this process has verified, by the path, size, mtime and inode of the file."""


def save_shard(path: Path, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Write the tensors of a shard with their checksums, atomically. Raises VsrError if that fails."""
    arrays = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    checksums = to_json({name: _checksum(name, tensor) for name, tensor in sorted(arrays.items())})
    with replacing(path) as temporary, writing(path):
        save_file(arrays, temporary, metadata={CHECKSUMS: checksums})


def map_shard(path: Path, *, remedy: str = REMEDY) -> Shard:
    """Map the tensors of a safetensors file: eight bytes of header length, a JSON header, the data.

    The library reads tensors whole or by slice; with a map, a batch reads only its own rows.
    Raises DamagedFile, naming the `remedy`, if the file is not one that `save_shard` wrote.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            (length,) = struct.unpack("<Q", file.read(8))
            if length > size:
                raise ValueError("its header is longer than the file")
            header = dict(from_json(file.read(length)))
            # One map per file: each map holds a file descriptor, of which a process has few.
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        checksums = dict(from_json(header.pop("__metadata__")[CHECKSUMS]))
        if header.keys() != checksums.keys():
            raise ValueError("its tensors and checksums do not match")
        tensors: dict[str, NDArray[Any]] = {}
        for name, entry in header.items():
            dtype, shape = np.dtype(_DTYPES[entry["dtype"]]), tuple(map(operator.index, entry["shape"]))
            start, end = entry["data_offsets"]
            if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != end - start:
                raise ValueError(f"its {name} have the shape {shape} and {end - start} bytes")
            count = math.prod(shape)
            flat: NDArray[Any] = (
                np.frombuffer(mapped, dtype, count, 8 + length + start) if count else np.empty(0, dtype)
            )
            tensors[name] = flat.reshape(shape)
        return Shard(path, tensors, mapped=mapped, checksums=checksums, remedy=remedy)
    except FileNotFoundError as error:
        raise DamagedFile(f"{path}: is missing; {remedy}") from error
    except (OSError, MemoryError, *_MALFORMED) as error:
        refuse_system_error(error, path)
        raise DamagedFile(f"{path}: is damaged, or of another version of vsr ({error}); {remedy}") from error


def _checksum(name: str, tensor: NDArray[Any]) -> str:
    """Return the checksum of a tensor's name, type, shape and content."""
    digest = xxhash.xxh3_128(f"{name} {tensor.dtype.str} {tensor.shape} ".encode())
    content = tensor.reshape(-1).view(np.uint8)
    for start in range(0, len(content), PIECE):
        digest.update(content[start : start + PIECE].data)
    return digest.hexdigest()


class Rows(Protocol):
    """Rows (n, *row) in memory or in files."""

    def __len__(self) -> int:
        """Return the number of rows."""
        ...

    def gather(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Copy the rows with these indices, of any shape: (*indices, *row)."""
        ...


def by_shard(
    starts: NDArray[np.int64], rows: NDArray[np.int64]
) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
    """Yield each shard that holds some of the rows, their positions in `rows.flat`, and their rows in the shard.

    `starts` holds the first row of each shard, and the number of all rows at the end.
    """
    flat = rows.reshape(-1)
    shards = np.searchsorted(starts, flat, side="right") - 1
    for index in np.unique(shards).tolist():
        here = np.flatnonzero(shards == index)
        yield index, here, flat[here] - starts[index]


class MappedRows:
    """Concatenated rows (n, *row) of the shards of some files, read on access.

    `counts` has the number of rows in each file; `row_shape` and `dtype` are those of a row.
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
        found = np.empty((rows.size, *self.row_shape), dtype=self.dtype)
        for index, here, inside in by_shard(self._starts, rows):
            found[here] = self._map(index)[inside]
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
            self._maps.clear()  # each map holds a file descriptor, and this process has no more of them
            mapped = map_shard(path).get(ROWS)
        expected = (int(self._starts[index + 1] - self._starts[index]), *self.row_shape)
        if mapped is None or mapped.shape != expected or mapped.dtype != self.dtype:
            raise DamagedFile(f"{path}: does not hold the expected rows; {REMEDY}")
        self._maps[index] = mapped
        if len(self._maps) > OPEN_MAPS:
            self._maps.popitem(last=False)
        return mapped


class ArrayRows:
    """Rows in memory, with the interface of MappedRows."""

    def __init__(self, rows: NDArray[Any]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def gather(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Copy the rows with these indices, of any shape: (*indices, *row)."""
        found: NDArray[Any] = self._rows[rows]
        return found


class ChosenRows:
    """A selection of rows: row i is row `chosen[i]` of the others; -1 is missing and must not be requested."""

    def __init__(self, rows: Rows, chosen: NDArray[np.int64]) -> None:
        self._rows = rows
        self._chosen = chosen

    def __len__(self) -> int:
        return len(self._chosen)

    def gather(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Copy the rows with these indices, of any shape: (*indices, *row)."""
        chosen = self._chosen[rows]
        assert chosen.min(initial=0) >= 0, "a row was requested that is not stored"
        return self._rows.gather(chosen)


class JoinedRows:
    """The concatenated rows of several sources."""

    def __init__(self, parts: Sequence[Rows]) -> None:
        self._parts = list(parts)
        self._starts = np.cumsum([0, *map(len, parts)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def gather(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Copy the rows with these indices, of any shape: (*indices, *row)."""
        flat = rows.reshape(-1)
        part_of = np.searchsorted(self._starts, flat, side="right") - 1
        # Without rows, the first part still determines shape and dtype.
        parts = np.unique(part_of).tolist() or [0]
        gathered = [self._parts[part].gather(flat[part_of == part] - self._starts[part]) for part in parts]
        found = np.empty((len(flat), *gathered[0].shape[1:]), gathered[0].dtype)
        for part, values in zip(parts, gathered, strict=True):
            found[part_of == part] = values
        return found.reshape(*rows.shape, *found.shape[1:])


def folder_bytes(folder: Path) -> int:
    """Add up the sizes of the files below a folder."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # removed by another process while this one counts
                total += (Path(parent) / name).lstat().st_size
    return total
