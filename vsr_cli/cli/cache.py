"""`vsr cache`: list, verify and prune the cached frozen features and weights, which all data and runs share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from ..console import fail, print_json, say, warn
from ..console import out as console
from ..quantities import counted, size
from ..report.tables import Column, fitting_table
from .arguments import Json, finite
from .parsing.commands import examples


@examples("vsr cache list", "vsr cache list --json")
def cache_list(as_json: Json = False) -> None:
    """List the cached features and frozen weights of each encoder, the least recently used first."""
    from ..data.cache.maintenance import list_feature_sets
    from ..system_errors import cache_folder

    found = list_feature_sets()
    if as_json:
        print_json({"folder": str(cache_folder()), "features": [cached.record() for cached in found]})
        return
    total = sum(cached.bytes for cached in found)
    console.print(f"{cache_folder()}: {size(total)}", style="bold", markup=False, soft_wrap=True)
    columns = [
        Column("features", [cached.name for cached in found], justify="left"),
        Column("shape", [_row(cached.facts) for cached in found], justify="left", rank=1),
        Column("precision", [_precision(cached.facts) for cached in found], justify="left", rank=2),
        Column("shards", [str(cached.shards) for cached in found], rank=3),
        Column("size", [size(cached.bytes) for cached in found]),
        Column("last used", [f"{cached.idle_days:.1f} days ago" for cached in found]),
    ]
    console.print(fitting_table(columns, width=console.width))


def _precision(facts: Mapping[str, Any]) -> str:
    """Return what features are stored in, and what they were computed in unless that was fp32."""
    stored = str(facts.get("precision", "?"))
    return f"{stored}, {facts['compute']}" if facts.get("compute", "fp32") != "fp32" else stored


def _row(facts: Mapping[str, Any]) -> str:
    """Return the shape of the features of one image or text."""
    if "parameters" in facts:
        return "weights"
    shape = "x".join(map(str, facts.get("row_shape", ["?"])))
    return f"{shape}, without padding" if facts.get("tokens") else shape


@examples("vsr cache verify", "vsr cache verify --repair")
def cache_verify(
    repair: Annotated[
        bool, typer.Option("--repair", help="Remove damaged features; they are computed again when needed.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Compare all cached features and frozen weights with their checksums. Exit code 1 if any are damaged."""
    from ..data.cache.maintenance import list_feature_sets, remove_damaged, verify

    found = list_feature_sets()
    damaged = [line for cached in found for _, line in verify(cached)]
    in_use = [cached for cached in found if repair and remove_damaged(cached) is None]
    for cached in in_use:
        warn(f"{cached.folder}: another process uses it, so it is not repaired; run the command again later")
    if as_json:
        print_json({"sets": len(found), "damaged": damaged, "removed": repair and bool(damaged) and not in_use})
    else:
        for line in damaged:
            fail(line)
        state = f"{len(damaged)} damaged{', removed' if repair and not in_use else ''}" if damaged else "none damaged"
        say(f"{_sets(len(found))}, {counted(sum(cached.shards for cached in found), 'shard')}: {state}")
    if damaged and not repair:
        raise typer.Exit(1)


@examples("vsr cache prune --unused-days 30", "vsr cache prune --to 5")
def cache_prune(
    unused_days: Annotated[
        float | None,
        typer.Option(
            "--unused-days", min=0, callback=finite, metavar="N", help="Remove features that were not used for N days."
        ),
    ] = None,
    to: Annotated[
        float | None,
        typer.Option(
            "--to",
            min=0,
            callback=finite,
            metavar="GIB",
            help="Remove the least recently used until the cache has this size.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Remove cached features and frozen weights, all of them without an option. They are made again when needed."""
    from ..data.cache.maintenance import prune

    limit = 0.0 if unused_days is None and to is None else None if to is None else to * 2**30
    pruned = prune(unused_days=unused_days, to_bytes=limit)
    for cached in pruned.in_use:
        warn(f"{cached.folder}: another process uses it, so it is not removed; run the command again later")
    if as_json:
        print_json({"removed": [cached.record() for cached in pruned.removed]})
    else:
        freed = sum(cached.bytes for cached in pruned.removed)
        say(f"removed {_sets(len(pruned.removed))}, {size(freed)}")


def _sets(count: int) -> str:
    return counted(count, "set of features", "sets of features")
