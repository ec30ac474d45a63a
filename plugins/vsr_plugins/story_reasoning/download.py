"""Fetches large files in pieces: what came before a connection broke is kept, and the next try asks for the rest."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BREATH = 1.0
"""Seconds between a broken connection and the next one."""


@dataclass(frozen=True, kw_only=True)
class Download:
    """A file of the hub, and its places in the hub library's cache."""

    name: str
    url: str
    size: int
    """In bytes."""
    sha256: str | None
    """None: a file so small that the hub keeps none of it."""
    blob: Path
    """Holds the bytes, under a name that depends on them alone."""
    link: Path
    """Leads to the blob, from the folder of a commit."""
    lock: Path


class Cut(Exception):
    """A download stopped before its end; the cause says why."""

    def __init__(self, name: str, *, had: int, size: int) -> None:
        super().__init__(f"{name}: {had} of {size} bytes")
        self.name, self.had, self.size = name, had, size


def download(files: Sequence[Download]) -> None:
    """Fetch the files that are not there, and only then link them, so that a commit's folder is never half full.

    A broken connection is taken up again as long as each brings more bytes than the last; what was fetched
    lies beside the blob as `.incomplete`, and stays for the next call. Raises Cut where a connection brings
    nothing, OSError where a file is not what the hub says it is, or the disk is full.
    """
    from huggingface_hub.utils import WeakFileLock, tqdm  # type: ignore[attr-defined]

    missing = [file for file in files if not file.link.exists()]
    if not missing:
        return
    total = sum(file.size for file in missing)
    with tqdm(total=total, desc="fetching", unit="B", unit_scale=True, disable=None) as bar:  # type: ignore[no-untyped-call]
        for file in missing:
            file.lock.parent.mkdir(parents=True, exist_ok=True)
            with WeakFileLock(file.lock):
                if not file.blob.exists():
                    _fetch(file, bar)
    for file in missing:
        _link(file)


def _fetch(file: Download, bar: Any) -> None:
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    file.blob.parent.mkdir(parents=True, exist_ok=True)
    part = file.blob.with_name(f"{file.blob.name}.incomplete")
    part.touch()
    if part.stat().st_size > file.size:
        part.unlink()
        part.touch()
    bar.update(part.stat().st_size)
    while (had := part.stat().st_size) < file.size:
        try:
            _append(file, part, bar)
            cause = None
        except HTTPError as error:
            cause = error
        has = part.stat().st_size
        if has <= had:
            raise Cut(file.name, had=has, size=file.size) from cause
        if has < file.size:
            time.sleep(BREATH)
    with part.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    if file.sha256 and digest != file.sha256:
        part.unlink()
        raise OSError(f"{file.name} came damaged and was thrown away")
    part.replace(file.blob)


def _append(file: Download, part: Path, bar: Any) -> None:
    """Ask for the bytes after those of `part`, and write them to its end as they come."""
    from huggingface_hub import constants, get_session, hf_raise_for_status
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    had = part.stat().st_size
    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
    if had:
        headers["Range"] = f"bytes={had}-"
    timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT  # for each piece to come, not for the whole
    answer = get_session().stream("GET", file.url, headers=headers, timeout=timeout, follow_redirects=True)
    with answer as response, part.open("ab") as sink:
        hf_raise_for_status(response)
        if had and response.status_code != 206:
            sink.truncate(0)  # it sends the whole, whatever it was asked for
            bar.update(-had)
        for chunk in response.iter_raw():
            sink.write(chunk)
            bar.update(len(chunk))


def _link(file: Download) -> None:
    file.link.parent.mkdir(parents=True, exist_ok=True)
    if file.link.exists():
        return
    try:
        file.link.symlink_to(os.path.relpath(file.blob, file.link.parent))
    except OSError:
        # Where links are not allowed, the cache holds the file itself.
        file.blob.replace(file.link)
