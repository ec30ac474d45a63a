"""Looking after the frozen-feature cache: what is in it, whether it is whole, and making room."""

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
from ...files.locks import if_nobody_is_in
from ...system_errors import cache_folder
from ..shards import ROWS, folder_bytes
from .feature_set import ABOUT, FEATURES, FeatureSet, shard_paths


@dataclass(frozen=True)
class Kept:
    """A set of features in the cache."""

    name: str
    folder: Path
    facts: dict[str, Any]
    """What its about.json says; empty where that is damaged."""
    shards: int
    bytes: int
    idle_days: float
    """Since it was last added to or read."""

    def record(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        counted = {"shards": self.shards, "bytes": self.bytes, "idle_days": round(self.idle_days, 2)}
        return {"name": self.name, **self.facts, **counted}


def kept_features() -> list[Kept]:
    """List the sets in the cache, the one longest unused first."""
    folder = cache_folder() / FEATURES
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    found = [_look(path) for path in paths if path.is_dir() and not path.name.startswith(".")]
    return sorted(found, key=lambda kept: -kept.idle_days)


def _look(folder: Path) -> Kept:
    shards = shard_paths(folder)
    used = max((path.stat().st_mtime for path in [*shards, folder / ABOUT] if path.exists()), default=0.0)
    return Kept(
        name=folder.name,
        folder=folder,
        facts=_facts(folder) or {},
        shards=len(shards),
        bytes=folder_bytes(folder),
        idle_days=max(0.0, (time.time() - used) / 86_400),
    )


def _facts(folder: Path) -> dict[str, Any] | None:
    try:
        return read_json(folder / ABOUT, what="a set of features")
    except VsrError:
        return None


def verify(kept: Kept) -> Iterator[tuple[Path, str]]:
    """Read a set, and yield each file that is not what was written or holds no finite numbers, with a line on it."""
    facts = _facts(kept.folder)
    if facts is None or not {"row_shape", "precision", "tokens"} <= facts.keys():
        yield kept.folder / ABOUT, f"{kept.folder / ABOUT}: missing or damaged, so the set cannot be read"
        return
    features = FeatureSet(
        kept.folder, row_shape=tuple(facts["row_shape"]), precision=facts["precision"], tokens=facts["tokens"]
    )
    for path in shard_paths(kept.folder):
        try:
            rows = features.open_shard(path)[ROWS]
        except DamagedFile as error:
            if path.exists():  # else removed by another process while this one reads
                yield path, str(error)
            continue
        if not all(np.isfinite(part).all() for part in np.array_split(rows, max(1, len(rows) // 1024))):
            yield path, f"{path}: holds numbers that are not finite"


def remove_damaged(kept: Kept) -> int | None:
    """Remove the damaged files of a set, or the whole set where it cannot be read. Return how many bytes that freed.

    Returns None, and removes nothing, while another process uses the set. Raises VsrError for a link in the cache.
    """
    _refuse_links()
    with if_nobody_is_in(kept.folder) as free:
        if not free:
            return None
        for path in kept.folder.iterdir():
            if path.name.startswith("."):
                remove(path)  # half-written, by a process that is gone
        for path, _ in list(verify(kept)):
            if path.name == ABOUT:
                remove_at_once(kept.folder)
                return kept.bytes
            path.unlink(missing_ok=True)
        return kept.bytes - folder_bytes(kept.folder)


@dataclass(frozen=True)
class Pruned:
    """What was done to make room in the cache."""

    removed: list[Kept]
    in_use: list[Kept]
    """Would have been removed, but other processes use them at this moment."""


def prune(*, unused_days: float | None, to_bytes: float | None) -> Pruned:
    """Remove the sets unused for so many days, then the longest unused until the cache is no larger than asked.

    Whatever needs a removed set later computes it again. Raises VsrError for a link in the cache.
    """
    _refuse_links()
    pruned = Pruned([], [])
    sweep(cache_folder() / FEATURES)
    sets = kept_features()
    total = sum(kept.bytes for kept in sets)
    for kept in sets:
        too_old = unused_days is not None and kept.idle_days >= unused_days
        too_much = to_bytes is not None and total > to_bytes
        if too_old or too_much:
            with if_nobody_is_in(kept.folder) as free:
                if free:
                    remove_at_once(kept.folder)
                    total -= kept.bytes
                (pruned.removed if free else pruned.in_use).append(kept)
    return pruned


def _refuse_links() -> None:
    refuse_links(cache_folder(), [FEATURES])
