"""Frozen halves of encoders in the cache: the weights, and what the encoder is built from without its half.

An entry is found by the identity of its source (options, files, versions of packages), so that no weights are read and
hashed only to learn the encoder's cache key. It is a copy: if it is missing or damaged, it is made again.

    FOLDER/frozen/KIND-IDENTITY/about.json            cache key, shape of the features, facts, checksums of the files
    FOLDER/frozen/KIND-IDENTITY/weights.safetensors   the tensors of the frozen half, by their names in the encoder
    FOLDER/frozen/KIND-IDENTITY/initial.safetensors   the pretrained tensors of what trains, if there are any
    FOLDER/frozen/KIND-IDENTITY/assets/               what `save_assets` wrote
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...api import FrozenHalf
from ...console import warn
from ...errors import DamagedFile, VsrError, one_line
from ...files.atomic import read_json, remove_at_once, replacing_folder, write_json
from ...files.checksums import file_checksum, verify_file
from ...files.links import refuse_links
from ...files.locks import hold_shared_lock
from ...system_errors import cache_folder
from .feature_set import ABOUT

FROZEN = "frozen"
WEIGHTS, INITIAL, ASSETS = "weights.safetensors", "initial.safetensors", "assets"
REMEDY = "'vsr cache verify --repair' removes it, and it is made again"


@dataclass(frozen=True)
class StoredHalf:
    """A frozen half in the cache, with the assets of its encoder."""

    half: FrozenHalf
    assets: Path


def entry_folder(kind: str, identity: str) -> Path:
    """Return the folder of an entry, which may not exist."""
    return cache_folder() / FROZEN / f"{kind}-{identity}"


def find_frozen(kind: str, identity: str) -> StoredHalf | None:
    """Return an entry whose files have their checksums; None if there is none. A damaged one is reported and removed.

    Other processes do not remove the entry for as long as its `half` is referenced.
    """
    folder = entry_folder(kind, identity)
    if not folder.is_dir():
        return None
    refuse_links(cache_folder(), [FROZEN], below=False)
    refuse_links(folder.parent, [folder.name])
    try:
        about = read_about(folder)
        half = FrozenHalf(
            weights=folder / WEIGHTS,
            cache_key=str(about["key"]),
            shape=tuple(map(int, about["shape"])),
            parameters=int(about["parameters"]),
            facts=about["facts"],
            initial=folder / INITIAL if INITIAL in about["checksums"] else None,
        )
        hold_shared_lock(folder, half, patience=1.0)
        if problems := damaged_files(folder, about):
            raise DamagedFile(problems[0])
    except (VsrError, OSError, KeyError, TypeError, ValueError) as error:
        if folder.is_dir():
            warn(f"{str(error).partition('; ')[0]}; these frozen weights are made again from their source")
            with suppress(OSError):  # a read-only cache, or removed by another process
                remove_at_once(folder)
        return None
    with suppress(OSError):  # records the last use; fails in a read-only cache
        os.utime(folder / ABOUT, follow_symlinks=False)
    return StoredHalf(half, folder / ASSETS)


def read_about(folder: Path) -> dict[str, Any]:
    """Read the description of an entry. Raises VsrError if it is damaged."""
    about = read_json(folder / ABOUT, what="a set of frozen weights")
    if not isinstance(about.get("checksums"), dict) or WEIGHTS not in about["checksums"]:
        raise VsrError(f"{folder / ABOUT}: is of another version of vsr; {REMEDY}")
    return about


def damaged_files(folder: Path, about: Mapping[str, Any]) -> list[str]:
    """Return a message for each file of an entry that is missing or damaged."""
    found = []
    for name, checksum in about["checksums"].items():
        try:
            verify_file(folder / name, checksum, remedy=REMEDY)
        except DamagedFile as error:
            found.append(str(error))
    return found


def add_frozen(
    kind: str,
    identity: str,
    *,
    write: Callable[[Path], FrozenHalf],
    save_assets: Callable[[Path], object],
    component: str,
) -> bool:
    """Write an entry for a component, and return whether that was possible. `write` fills a folder with the weights.

    A cache that cannot be written is no error: the half is then built from its source each time.
    """
    from safetensors import SafetensorError

    folder = entry_folder(kind, identity)
    try:
        refuse_links(cache_folder(), [FROZEN], below=False)
        with replacing_folder(folder) as temporary:
            (temporary / ASSETS).mkdir()
            save_assets(temporary / ASSETS)
            half = write(temporary)
            files = sorted(path for path in temporary.rglob("*") if path.is_file())
            about = {
                "kind": kind,
                "key": half.cache_key,
                "component": component,
                "shape": list(half.shape),
                "parameters": half.parameters,
                "facts": dict(half.facts),
                "checksums": {path.relative_to(temporary).as_posix(): file_checksum(path) for path in files},
            }
            write_json(temporary / ABOUT, about)
    except (OSError, SafetensorError) as error:
        warn(f"{folder}: cannot be written ({one_line(error)}), so the next start builds these frozen weights again")
        return False
    return True
