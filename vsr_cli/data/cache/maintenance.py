"""Maintenance of the cache of frozen features and frozen weights: list, verify, repair and prune its sets."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DamagedFile, VsrError
from ...files.atomic import read_json, remove, remove_at_once, sweep
from ...files.links import refuse_links
from ...files.locks import try_lock
from ...system_errors import cache_folder
from ..shards import ROWS, folder_bytes
from .feature_set import ABOUT, FEATURES, FeatureSet, shard_paths
from .frozen_weights import FROZEN, damaged_files, read_about

INTERNAL = ("facts", "checksums")
"""Entries of a description that no listing shows."""


@dataclass(frozen=True)
class CachedFeatures:
    """A set of features in the cache, or the weights of a frozen half."""

    name: str
    folder: Path
    facts: dict[str, Any]
    """The content of its about.json; empty if that is damaged."""
    shards: int
    bytes: int
    idle_days: float
    """Days since the set was last read or written."""

    @property
    def is_weights(self) -> bool:
        """Whether it holds weights, not features."""
        return self.folder.parent.name == FROZEN

    def record(self) -> dict[str, Any]:
        """Return it as in JSON."""
        counted = {"shards": self.shards, "bytes": self.bytes, "idle_days": round(self.idle_days, 2)}
        return {"name": self.name, **self.facts, **counted}


def list_feature_sets() -> list[CachedFeatures]:
    """List the sets in the cache, least recently used first."""
    folders = [cache_folder() / name for name in (FEATURES, FROZEN)]
    paths = [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())]
    found = [_look(path) for path in paths if path.is_dir() and not path.name.startswith(".")]
    return sorted(found, key=lambda cached: -cached.idle_days)


def _look(folder: Path) -> CachedFeatures:
    shards = shard_paths(folder)
    used = max((path.stat().st_mtime for path in [*shards, folder / ABOUT] if path.exists()), default=0.0)
    return CachedFeatures(
        name=folder.name if folder.parent.name == FEATURES else f"{FROZEN}/{folder.name}",
        folder=folder,
        facts={name: fact for name, fact in (_facts(folder) or {}).items() if name not in INTERNAL},
        shards=len(shards),
        bytes=folder_bytes(folder),
        idle_days=max(0.0, (time.time() - used) / 86_400),
    )


def _facts(folder: Path) -> dict[str, Any] | None:
    try:
        return read_json(folder / ABOUT, what="a set of features")
    except VsrError:
        return None


def verify(cached: CachedFeatures) -> Iterator[tuple[Path, str]]:
    """Read a set, and yield each file that is damaged or holds NaN or infinity, with a message."""
    facts = _facts(cached.folder)
    if cached.is_weights:
        yield from _verify_weights(cached.folder)
        return
    if facts is None or not {"row_shape", "precision", "tokens"} <= facts.keys():
        yield cached.folder / ABOUT, f"{cached.folder / ABOUT}: missing or damaged, so the set cannot be read"
        return
    features = FeatureSet(
        cached.folder, row_shape=tuple(facts["row_shape"]), precision=facts["precision"], tokens=facts["tokens"]
    )
    for path in shard_paths(cached.folder):
        try:
            rows = features.open_shard(path)[ROWS]
        except DamagedFile as error:
            if path.exists():  # otherwise removed by another process meanwhile
                yield path, str(error)
            continue
        if not all(np.isfinite(part).all() for part in np.array_split(rows, max(1, len(rows) // 1024))):
            yield path, f"{path}: holds NaN or infinity"


def _verify_weights(folder: Path) -> Iterator[tuple[Path, str]]:
    try:
        problems = damaged_files(folder, read_about(folder))
    except VsrError as error:
        problems = [str(error)]
    for problem in problems[:1]:  # which makes the whole of no use
        yield folder / ABOUT, problem


def remove_damaged(cached: CachedFeatures) -> int | None:
    """Remove the damaged files of a set, or the whole set if it cannot be read. Return the number of bytes freed.

    Returns None, and removes nothing, if another process uses the set. Raises VsrError for a link in the cache.
    """
    _refuse_links()
    with try_lock(cached.folder) as free:
        if not free:
            return None
        for path in cached.folder.iterdir():
            if path.name.startswith("."):
                remove(path)  # left incomplete by a process that was killed
        for path, _ in list(verify(cached)):
            if path.name == ABOUT:
                remove_at_once(cached.folder)
                return cached.bytes
            path.unlink(missing_ok=True)
        return cached.bytes - folder_bytes(cached.folder)


@dataclass(frozen=True)
class Pruned:
    """The sets that pruning removed and skipped."""

    removed: list[CachedFeatures]
    in_use: list[CachedFeatures]
    """Not removed, as other processes use them."""


def prune(*, unused_days: float | None, to_bytes: float | None) -> Pruned:
    """Remove sets unused for `unused_days`, then the least recently used until the cache has at most `to_bytes`.

    Removed features are computed again when they are needed. Raises VsrError for a link in the cache.
    """
    _refuse_links()
    pruned = Pruned([], [])
    for name in (FEATURES, FROZEN):
        sweep(cache_folder() / name)
    sets = list_feature_sets()
    total = sum(cached.bytes for cached in sets)
    for cached in sets:
        too_old = unused_days is not None and cached.idle_days >= unused_days
        too_much = to_bytes is not None and total > to_bytes
        if too_old or too_much:
            with try_lock(cached.folder) as free:
                if free:
                    remove_at_once(cached.folder)
                    total -= cached.bytes
                (pruned.removed if free else pruned.in_use).append(cached)
    return pruned


def _refuse_links() -> None:
    refuse_links(cache_folder(), [FEATURES, FROZEN])
