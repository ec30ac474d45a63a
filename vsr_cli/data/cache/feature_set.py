"""Sets of cached features: the outputs of frozen halves of encoders, stored by content and shared by all data and runs.

A set holds the features of one encoder, by its `cache_key`, in one precision. A row is identified by the digest of its
image or text, so another prepared folder with the same stories reuses all rows. Shards are added and never changed: a
killed process loses at most the shard that it was writing.

    FOLDER/features/KIND-KEY-PRECISION/about.json         encoder, shape and precision
    FOLDER/features/KIND-KEY-PRECISION/NAME.safetensors   digest (n, 16) uint8; rows (n, *F), or for features of tokens
                                                          rows (all real tokens, *F) and length (n,) int32
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...console import warn
from ...errors import DamagedFile, VsrError
from ...files.atomic import read_json, write_json
from ..duplicates import distinct
from ..shards import ROWS, Shard, by_shard, map_shard, save_shard

FEATURES = "features"
ABOUT = "about.json"
REMEDY = "'vsr cache verify --repair' removes such files, and their features are computed again"
SHARD_BYTES = 32 * 2**20
"""Maximum size of a shard, which is held in memory until it is written."""
ROWS_PER_SHARD = (32, 512)
"""Minimum and maximum number of rows in a shard, whatever their size."""

Precision = Literal["single", "half"]
DTYPES: dict[str, type[np.generic]] = {"single": np.float32, "half": np.float16}


@dataclass(frozen=True)
class FeatureSet:
    """The features of one encoder in one precision."""

    folder: Path
    row_shape: tuple[int, ...]
    """F; for features of tokens (L, *F)."""
    precision: Precision
    tokens: bool
    """Whether a row holds the features of the tokens of a text, of which only the real ones are stored."""

    @property
    def rows_per_shard(self) -> int:
        """The number of rows in a full shard."""
        least, most = ROWS_PER_SHARD
        return max(least, min(most, SHARD_BYTES // self.row_bytes))

    @property
    def row_bytes(self) -> int:
        """The size of a row of full length, in bytes."""
        return max(1, int(np.prod(self.row_shape)) * np.dtype(DTYPES[self.precision]).itemsize)

    @classmethod
    def known(cls, folder: Path, precision: Precision) -> FeatureSet | None:
        """Return a set in the cache; None if it does not exist or has no valid description."""
        if not (folder / ABOUT).exists():
            return None
        try:
            facts = read_json(folder / ABOUT, what="a set of features")
            shape, tokens = tuple(map(int, facts["row_shape"])), bool(facts["tokens"])
        except (VsrError, KeyError, TypeError, ValueError):
            warn(f"{folder / ABOUT}: is damaged or of another version of vsr; these features are computed again")
            return None
        return cls(folder, row_shape=shape, precision=precision, tokens=tokens)

    def describe(self, **facts: Any) -> None:
        """Write a file that describes the set."""
        shape = {"row_shape": list(self.row_shape), "precision": self.precision, "tokens": self.tokens}
        write_json(self.folder / ABOUT, {**facts, **shape})

    def add(self, digests: NDArray[np.uint8], features: NDArray[Any], lengths: NDArray[np.int64] | None) -> None:
        """Add a shard: digests (n, 16) and features (n, *row_shape), or of all real tokens with `lengths` (n,).

        Raises VsrError if a feature is not finite, or too large for the precision.
        """
        name = hashlib.sha256(digests.tobytes()).hexdigest()[:32]
        with np.errstate(over="ignore"):  # reported below
            rows = features.astype(DTYPES[self.precision], copy=False)
        if not np.isfinite(rows).all():
            raise VsrError(f"{self.folder.name}: {_not_finite(features)}")
        tensors = {ROWS: rows, "digest": digests}
        if lengths is not None:
            tensors["length"] = lengths.astype(np.int32)
        save_shard(self.folder / f"{name}.safetensors", tensors)

    def find(self, digests: NDArray[np.uint8]) -> tuple[FeatureRows, NDArray[np.int64]]:
        """Return the rows of the set, and the index of each digest (n, 16) among them, (n,), -1 if it is missing.

        A damaged shard is reported and removed; its rows count as missing, and will be computed again.
        """
        shards = [shard for path in shard_paths(self.folder) if (shard := self._sound_shard(path)) is not None]
        if shards:
            with suppress(OSError):  # records the last use; fails in a read-only cache
                os.utime(self.folder / ABOUT, follow_symlinks=False)
        stored = [np.array(shard["digest"]) for shard in shards]
        count = sum(map(len, stored))
        numbers, first = distinct(np.concatenate([*stored, digests]))
        at = first[numbers[count:]]
        return FeatureRows(self, shards), np.where(at < count, at, -1)

    def _sound_shard(self, path: Path) -> Shard | None:
        try:
            return self.open_shard(path)
        except DamagedFile as error:
            if not path.exists():
                return None  # removed by another process meanwhile
            warn(f"{str(error).partition('; ')[0]}; it is removed and computed again")
            with suppress(OSError):  # a read-only cache
                path.unlink()
            return None

    def open_shard(self, path: Path) -> Shard:
        """Map a shard into memory. Raises DamagedFile if it is damaged or does not belong to the set.

        Its rows are compared with their checksum when they are first read, as a set may be larger than the memory.
        """
        shard = map_shard(path, remedy=REMEDY)
        lacking = {ROWS, "digest", *(["length"] if self.tokens else [])} - shard.keys()
        if not lacking:
            rows, count = shard.unread(ROWS), len(shard["digest"])
            shape = (count, *self.row_shape)
            if self.tokens:
                shape = (int(shard["length"].sum()), *self.row_shape[1:])
                lacking = lacking if len(shard["length"]) == count else {"length"}
            if rows.shape != shape or rows.dtype != DTYPES[self.precision]:
                lacking = {ROWS}
        if lacking:
            raise DamagedFile(f"{path}: is damaged or of another encoder; {REMEDY}")
        return shard


def shard_paths(folder: Path) -> list[Path]:
    """List the shard files of a set, in order. Names that begin with a dot are incomplete files."""
    return sorted(path for path in folder.glob("*.safetensors") if not path.name.startswith("."))


class FeatureRows:
    """The rows (n, *row_shape) of a set, read through memory maps."""

    def __init__(self, features: FeatureSet, shards: Sequence[Shard]) -> None:
        self._row_shape = features.row_shape
        self._dtype = DTYPES[features.precision]
        self._shards = list(shards)
        self._starts = np.concatenate([[0], np.cumsum([len(shard["digest"]) for shard in shards])]).astype(np.int64)
        self._lengths = [np.array(shard["length"], np.int64) if features.tokens else None for shard in shards]

    def __len__(self) -> int:
        return int(self._starts[-1])

    def gather(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Copy the rows with these indices, of any shape: (*indices, *row). Tokens that are not real are zeros."""
        found = np.zeros((rows.size, *self._row_shape), dtype=self._dtype)
        for index, here, inside in by_shard(self._starts, rows):
            lengths = self._lengths[index]
            if lengths is None:
                found[here] = self._shards[index][ROWS][inside]
            else:
                ends = np.cumsum(lengths)
                token = np.arange(self._row_shape[0])
                real = token < lengths[inside, None]  # (rows, L)
                source = (ends - lengths)[inside, None] + token  # (rows, L): of the tokens of the shard
                row, column = np.nonzero(real)
                found[here[row], column] = self._shards[index][ROWS][source[real]]
        return found.reshape(*rows.shape, *self._row_shape)


def _not_finite(features: NDArray[Any]) -> str:
    if np.isfinite(features).all():
        return "the features are too large for half precision; store them with --set features.precision=single"
    return (
        "the encoder's frozen half returns features that are not finite; check its weights, or choose another encoder"
    )
