"""The same prepared stories in other splits, and the folds of a cross-validation."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..config.schema import DataOptions
from ..errors import VsrError
from ..files.atomic import link_or_copy, write_json
from .manifest import FINISHED, MANIFEST
from .preparation.chunks import Chunk
from .preparation.prepare import chunk_keys, make_tables, publish_table
from .preparation.reading import Work
from .prepared import CHUNKS, PROBLEMS, Prepared, open_prepared
from .shards import folder_bytes
from .splits import Membership, assign_splits


def groups_of(prepared: Prepared) -> dict[str, str]:
    """Return the group of each story that is in a split, by the story's id."""
    return {story.id: story.group for story in prepared.stories() if story.split}


def assign_folds(groups: Mapping[str, str], folds: int, *, seed: int) -> dict[str, int]:
    """Return the fold of each story, from 0: whole groups, the largest first, each into the fold with fewest stories.

    The folds depend on the ids, groups and random seed, not on the order of the stories. Raises VsrError if there are
    fewer groups than folds, or too few to train on what is left.
    """
    members: dict[str, list[str]] = {}
    for story, group in groups.items():
        members.setdefault(group, []).append(story)
    least = max(folds, 3)  # each fold needs one group for training and one for validation
    if len(members) < least:
        grouped = "" if len(members) == len(groups) else f" in {len(members)} groups, which are never split"
        raise VsrError(
            f"--folds {folds}: needs {least} stories or groups of stories (got {len(groups)} stories{grouped}); "
            "choose fewer folds or prepare more stories"
        )
    shuffled = np.random.default_rng(seed).permutation(sorted(members)).tolist()
    sizes = [0] * folds
    fold: dict[str, int] = {}
    for group in sorted(shuffled, key=lambda group: -len(members[group])):
        chosen = sizes.index(min(sizes))
        sizes[chosen] += len(members[group])
        fold |= dict.fromkeys(members[group], chosen)
    return fold


def splits_of_fold(
    groups: Mapping[str, str], fold: Mapping[str, int], *, held_out: int, options: DataOptions
) -> dict[str, str]:
    """Return the split of each story if one fold is the test split; the validation split is taken from the others.

    It consists of whole groups. Its share and the random seed are those that the stories were prepared with.
    """
    rest = {story: Membership(group, None) for story, group in groups.items() if fold[story] != held_out}
    share = {"split": "group", "test": 0.0, "split_file": None}
    split_of = assign_splits(rest, DataOptions.model_validate({**options.model_dump(), **share}))
    return {story: split_of.get(story) or "test" for story in groups}


def resplit(prepared: Prepared, splits: Mapping[str, str], out: Path) -> Prepared:
    """Write a prepared folder with the same stories in other splits, and open it; an existing one is reused.

    Its chunks are hard links to the same files if the file system supports them, to save disk space.
    """
    if (out / MANIFEST).exists():
        existing = open_prepared(out)
        if {story.id: story.split for story in existing.stories() if story.split} == splits:
            return existing
    if out.exists():
        shutil.rmtree(out)  # left incomplete by a process that was killed
    own = {"split": "group", "split_file": None, "group_csv": None}
    options = DataOptions.model_validate({**prepared.manifest["data"], **own})
    keys = chunk_keys(prepared.tables)
    (out / CHUNKS).mkdir(parents=True)
    for key in keys:
        source, target = Chunk(prepared.folder / CHUNKS, key), Chunk(out / CHUNKS, key)
        link_or_copy(source.images, target.images)
        link_or_copy(source.stories, target.stories)
    work = Work()
    chunks = [Chunk(out / CHUNKS, key) for key in keys]
    groups = {story.id: story.group for story in prepared.stories()}
    name, summary = make_tables(out, chunks, options, {"groups": groups, "assigned": splits}, work)
    publish_table(out / name / PROBLEMS, out / PROBLEMS)
    manifest = {
        **prepared.manifest,
        "status": FINISHED,
        "fingerprint": summary["fingerprint"],
        "tables": name,
        "data": options.model_dump(mode="json"),
        "counts": summary["counts"],
        "bytes": {"chunks": work.bytes, "tables": folder_bytes(out / name)},
    }
    write_json(out / MANIFEST, manifest)
    return open_prepared(out)
