"""Fetches files into the places of the hub library's cache; what came before a connection broke is kept.

`datasets.load_dataset` would fetch by itself, but retries an unreachable hub for half a minute before it says so, and
keeps a second, unpacked copy of all pictures. `snapshot_download` waits without end for a hub that takes the call and
says nothing, and throws away the part of a file that it has when it stops, which may be hundreds of megabytes.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from .listing import HubFile, Listing
from .pieces import pieces

WORKERS = 8
"""Files at a time: of many small ones, each waits for the hub far longer than its bytes take."""


@dataclass(frozen=True, kw_only=True)
class _Target:
    """A file and its places in the cache."""

    file: HubFile
    blob: Path
    """Holds the bytes, under a name that depends on them alone."""
    link: Path
    """Leads to the blob, from the folder of a commit."""
    lock: Path


def cached_folder(hub_id: str, *, revision: str | None, patterns: Sequence[str]) -> Path:
    """Return the cache's folder of the commit that it has for a revision. Its name is the commit.

    Raises OSError or ValueError of the hub's library if there is none, or one that is known not to be whole.
    """
    from huggingface_hub import snapshot_download

    folder = snapshot_download(
        hub_id, repo_type="dataset", revision=revision, allow_patterns=[*patterns], local_files_only=True
    )
    return Path(folder)


def is_fetched(listing: Listing) -> bool:
    """Whether the cache holds all files of a listing."""
    return all(target.link.exists() for target in _targets(listing))


def download(listing: Listing, *, revision: str | None) -> Path:
    """Return the folder of a listing's files, fetching those that are not there.

    They are linked only once all are there, so that a commit's folder is never half full; then the cache notes that
    `revision` (None: the default branch) is this commit. A file that stops leaves what it has beside its place, as
    `.incomplete`, for the next call. Raises Cut or the hub library's error where one cannot be had, and OSError where
    one is not what the hub says it is, or the disk is full; the others then stop too, and keep what they have.
    """
    targets = _targets(listing)
    if missing := [target for target in targets if not target.link.exists()]:
        _fetch_all(missing)
        for target in missing:
            _link(target)
    folder = _folder(listing.hub_id)
    if revision != listing.commit:
        _note(folder, revision, listing.commit)
    return folder / "snapshots" / listing.commit


def _folder(hub_id: str) -> Path:
    # https://huggingface.co/docs/huggingface_hub/guides/manage-cache says where what lies.
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=hub_id, repo_type="dataset")


def _targets(listing: Listing) -> list[_Target]:
    folder = _folder(listing.hub_id)
    return [
        _Target(
            file=file,
            blob=folder / "blobs" / file.digest,
            link=folder / "snapshots" / listing.commit / file.name,
            lock=folder.parent / ".locks" / folder.name / f"{file.digest}.lock",
        )
        for file in listing.files.values()
    ]


def _fetch_all(targets: Sequence[_Target]) -> None:
    from ...console import download_progress

    stop, pool = threading.Event(), ThreadPoolExecutor(WORKERS)
    total = sum(target.file.size for target in targets)
    with download_progress() as bar:
        task = bar.add_task("", total=total)

        def report(count: int) -> None:
            bar.advance(task, count)

        try:
            tasks = [pool.submit(_fetch, target, report, stop) for target in targets]
            wait(tasks, return_when=FIRST_EXCEPTION)
        finally:
            # Also where the user interrupts: a thread that is left to itself would hold the program up.
            stop.set()
            pool.shutdown(cancel_futures=True)
    for each in tasks:
        if not each.cancelled():
            each.result()


def _fetch(target: _Target, report: Callable[[int], None], stop: threading.Event) -> None:
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

    target.lock.parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(target.lock):
        if not target.blob.exists():
            _fetch_rest(target, report, stop)


def _fetch_rest(target: _Target, report: Callable[[int], None], stop: threading.Event) -> None:
    file = target.file
    target.blob.parent.mkdir(parents=True, exist_ok=True)
    part = target.blob.with_name(f"{target.blob.name}.incomplete")
    had = part.stat().st_size if part.exists() else 0
    if had > file.size:
        part.unlink()
        had = 0
    report(had)
    with part.open("ab") as sink:
        for piece in pieces(file, start=had, end=file.size, whole_will_do=True, stop=stop):
            sink.write(piece)
            report(len(piece))
    if part.stat().st_size < file.size:
        return  # another file's error has stopped it
    if _digest(part, like=file.digest) != file.digest:
        part.unlink()
        raise OSError(f"{file.name} came damaged and was thrown away")
    part.replace(target.blob)


def _digest(path: Path, *, like: str) -> str:
    with path.open("rb") as content:
        if len(like) == 64:
            return hashlib.file_digest(content, "sha256").hexdigest()
        head = f"blob {path.stat().st_size}\0".encode()  # as git has it
        return hashlib.file_digest(content, lambda: hashlib.sha1(head, usedforsecurity=False)).hexdigest()


def _link(target: _Target) -> None:
    target.link.parent.mkdir(parents=True, exist_ok=True)
    if target.link.exists():
        return
    try:
        target.link.symlink_to(os.path.relpath(target.blob, target.link.parent))
    except OSError:
        # Where links are not allowed, the cache holds the file itself.
        target.blob.replace(target.link)


def _note(folder: Path, revision: str | None, commit: str) -> None:
    from huggingface_hub import constants

    ref = folder / "refs" / (revision or constants.DEFAULT_REVISION)
    ref.parent.mkdir(parents=True, exist_ok=True)
    new = ref.with_name(f"{ref.name}.new")
    new.write_text(commit, encoding="utf-8")
    new.replace(ref)
