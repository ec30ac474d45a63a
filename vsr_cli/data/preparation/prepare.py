"""Preparation of a dataset: new chunks, tables of all chunks, and finally the manifest.

No file that a reader uses is changed in place: chunks and tables are named by content, and the manifest, which names
the tables, is replaced atomically. So a kill at any moment leaves either the old data intact or a folder that the next
`prepare` completes to the same bytes.
"""

from __future__ import annotations

import filecmp
import hashlib
import itertools
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ... import __version__
from ...api import Dataset, Rejected, Story, Survey
from ...config.experiment import PrepareConfig
from ...config.schema import DataOptions
from ...console import warn
from ...errors import VsrError
from ...files.atomic import is_empty, read_json, remove, replacing, replacing_folder, sweep, write_json
from ...files.checksums import read_checksums, verify_file
from ...files.links import refuse_links
from ...files.locks import exclusive_lock, shared_lock, try_lock
from ...files.strict_json import to_json
from ..manifest import FINISHED, FORMAT, MANIFEST, UNFINISHED, read_manifest
from ..prepared import CHUNK_LIST, CHUNKS, OWNED, PROBLEMS, SUMMARY, TABLE, Prepared
from ..shards import REMEDY
from ..splits import SPLITS, read_groups, read_splits
from .chunks import Chunk, Share
from .reading import Work, read_chunks, survey_of, watched_stories
from .story_encoding import marked_up
from .tables import reasons_of, write_tables

WHOLE = Share()


def prepare_stories(
    config: PrepareConfig,
    dataset: Dataset,
    source: str | None,
    out: Path,
    *,
    survey: Survey | None = None,
    share: Share = WHOLE,
    windowless: bool = False,
    on_progress: Callable[[Work], None] = lambda work: None,
) -> tuple[Prepared | None, Work]:
    """Read a dataset and write the prepared folder. Return it, and what was read and written.

    With a share of the chunks, only these are created, and None is returned: a later call without a share completes
    the folder. Raises VsrError if there is no story, if no window is left and not `windowless`, or if `out` exists
    and is not a prepared folder.
    """
    groups, listed = _groups(config.data), _listed(config.data)  # first, to report their errors early
    survey = survey or survey_of(dataset, source)
    with _writing(out, share):
        return _prepare(
            config,
            dataset,
            source,
            out,
            survey=survey,
            share=share,
            windowless=windowless,
            on_progress=on_progress,
            files={"groups": groups, "splits": listed},
        )


@contextmanager
def _writing(out: Path, share: Share) -> Iterator[None]:
    """Lock a folder against a second preparation, unless both create shares of it."""
    if out.exists() and not out.is_dir():
        raise VsrError(_taken(out))
    lock = exclusive_lock if share == WHOLE else shared_lock
    with lock(out, busy=f"{out}: another process is preparing data there; wait for it, or name another --out"):
        refuse_links(out, OWNED)
        yield


def _prepare(
    config: PrepareConfig,
    dataset: Dataset,
    source: str | None,
    out: Path,
    *,
    survey: Survey,
    share: Share,
    windowless: bool,
    on_progress: Callable[[Work], None],
    files: Mapping[str, Any],
) -> tuple[Prepared | None, Work]:
    old = _look_at(out)
    work = Work()
    if old is None:
        write_json(out / MANIFEST, {"format": FORMAT, "status": UNFINISHED})
    try:
        reading = _reading(config, source, survey)
        keys = _known_chunks(out, old, reading) if share == WHOLE else None
        work.read = keys is None
        if keys is None:
            limit = config.data.limit or None
            stories: Iterator[Story | Rejected] = itertools.islice(watched_stories(dataset, source), limit)
            if config.data.markup:
                stories = (marked_up(story) if isinstance(story, Story) else story for story in stories)
            keys = read_chunks(stories, out / CHUNKS, config.data, share, work, on_progress)
        if share != WHOLE:
            return None, work
        chunks = [Chunk(out / CHUNKS, key) for key in keys]
        name, summary = make_tables(out, chunks, config.data, files, work)
        counts = summary["counts"]
        if not any(counts["windows_kept"].values()) and not (windowless and counts["stories_read"]):
            work.made = 0
            raise VsrError(_nothing_left(source, counts, config.data.context_frames))
    except VsrError:
        if old is None and not work.made and share == WHOLE:
            for path in out.iterdir():
                remove(path)  # the folder is new, and nothing in it is worth reusing
        raise
    manifest = {
        "format": FORMAT,
        "status": FINISHED,
        "vsr": __version__,
        "fingerprint": summary["fingerprint"],
        "tables": name,
        "preset": config.preset,
        "dataset": config.dataset.record(),
        "source": dict(dataset.describe(source)),
        "reading": reading,
        "data": config.data.model_dump(mode="json"),
        "visual": config.visual.record(),
        "text": config.text.record(),
        "features": config.features.model_dump(mode="json"),
        "counts": summary["counts"],
        "bytes": {"chunks": work.bytes, "tables": _size(out / name)},
    }
    publish_table(out / name / PROBLEMS, out / PROBLEMS)
    # Also if nothing has changed, as the newest manifest marks the data that was prepared last.
    write_json(out / MANIFEST, manifest)
    _sweep(out, name, set(keys))
    return Prepared(out, manifest), work


def _look_at(out: Path) -> dict[str, Any] | None:
    """Return the manifest at `out`; None if there is nothing. Raises VsrError if it is not a prepared folder."""
    if is_empty(out):
        return None
    try:
        return read_manifest(out)
    except VsrError as error:
        raise VsrError(f"{_taken(out)} ({error})" if (out / MANIFEST).is_file() else _taken(out)) from error


def _taken(out: Path) -> str:
    return (
        f"--out {out}: exists and is not a prepared folder of this version of vsr; name another, nothing is overwritten"
    )


def _reading(config: PrepareConfig, source: str | None, survey: Survey) -> dict[str, Any]:
    """Return all that the chunks depend on, as far as it is known without reading the source."""
    return {
        "source": source,
        "state": survey.state,
        "dataset": config.dataset.record(),
        "limit": config.data.limit,
        "markup": config.data.markup,
        "image_size": config.data.image_size,
        "resize": config.data.resize,
        "vsr": __version__,
    }


def _known_chunks(out: Path, old: dict[str, Any] | None, reading: dict[str, Any]) -> list[str] | None:
    """Return the existing chunks if the survey of the source is unchanged and all of them are intact, else None."""
    if old is None or old.get("reading") != reading or reading["state"] is None:
        return None
    try:
        keys = chunk_keys(out / old["tables"])
    except VsrError as error:
        warn(f"{str(error).partition('; ')[0]}; the source is read again")
        return None
    return keys if keys and all(Chunk(out / CHUNKS, key).is_whole() for key in keys) else None


def chunk_keys(tables: Path) -> list[str]:
    """Return the keys of the chunks of some tables, in order."""
    return [key for key, _ in read_json(tables / CHUNK_LIST, what=TABLE)["chunks"]]


def _groups(options: DataOptions) -> Mapping[str, str] | None:
    if options.group_csv is None:
        return None
    return read_groups(options.group_csv, group=options.group_column, story=options.story_column)


def _listed(options: DataOptions) -> Mapping[str, str] | None:
    return None if options.split_file is None else read_splits(options.split_file, SPLITS)


def make_tables(
    out: Path, chunks: list[Chunk], options: DataOptions, files: Mapping[str, Any], work: Work
) -> tuple[str, dict[str, Any]]:
    """Write the tables if they are missing. Return the name of their folder and their totals."""
    digest = hashlib.sha256(f"tables/{FORMAT};{__version__};".encode())
    digest.update(to_json([chunk.key for chunk in chunks]).encode())
    digest.update(options.model_dump_json().encode())
    digest.update(to_json(files, sort_keys=True).encode())
    name = f"tables-{digest.hexdigest()[:16]}"
    if not _are_whole(out / name):
        with replacing_folder(out / name) as folder:
            made = write_tables(folder, chunks, options, files["groups"], files.get("assigned"))
            write_json(folder / SUMMARY, made)
        work.tables = True
    if not work.bytes:
        work.bytes = sum(path.stat().st_size for chunk in chunks for path in (chunk.images, chunk.stories))
    return name, read_json(out / name / SUMMARY, what=TABLE)


def _are_whole(tables: Path) -> bool:
    """Return whether the tables exist and are undamaged. Damage is reported, missing tables are not."""
    if not tables.is_dir():
        return False
    try:
        for name, checksum in read_checksums(tables, remedy=REMEDY).items():
            verify_file(tables / name, checksum, remedy=REMEDY)
        read_json(tables / SUMMARY, what=TABLE)
    except VsrError as error:
        warn(f"{str(error).partition('; ')[0]}; the tables are created again")
        return False
    return True


def publish_table(table: Path, copy: Path) -> None:
    """Copy a table to the top folder, for users; an unchanged copy is not written again."""
    if not (copy.is_file() and filecmp.cmp(table, copy, shallow=False)):
        with replacing(copy) as temporary:
            shutil.copyfile(table, temporary)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def _sweep(out: Path, tables: str, keys: set[str]) -> None:
    """Remove chunks and tables that the manifest no longer refers to, unless in use, and incomplete files."""
    sweep(out, names=(MANIFEST, PROBLEMS))
    with try_lock(out / CHUNKS) as free:
        if not free:
            return  # another command still reads the old data; the next 'vsr prepare' removes it
        for path in (out / CHUNKS).iterdir():
            if path.name.split(".")[0] not in keys:
                remove(path)
        for path in out.iterdir():
            if path.name.startswith(("tables-", ".tables-")) and path.name != tables:
                remove(path)


def _nothing_left(source: str | None, counts: dict[str, Any], context_frames: int) -> str:
    where = source or "the dataset"
    if not counts["stories_read"]:
        return f"{where}: holds no story; see 'vsr prepare --help' for what a story folder looks like"
    return (
        f"{where}: no story is left of {counts['stories_read']} ({reasons_of(counts)}); "
        f"a window needs {context_frames + 1} frames, each with an image and a text"
    )
