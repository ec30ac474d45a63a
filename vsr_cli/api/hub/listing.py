"""What the hub says of a dataset: the commit that a revision stands for, and the files of that commit."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..paths import leads_outside

COMMIT = re.compile("[0-9a-f]{40}")
DIGEST = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class HubFile:
    """One file of a commit."""

    name: str
    """Its path in the repository."""
    url: str
    size: int
    """In bytes."""
    digest: str
    """Of its content, in hexadecimal digits: 64 of the SHA-256 of a large file, 40 of git's own of a small one."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A commit of a dataset, and those of its files that are wanted, by name."""

    hub_id: str
    commit: str
    files: Mapping[str, HubFile] = field(repr=False)


def ask(hub_id: str, *, revision: str | None, patterns: Sequence[str]) -> Listing:
    """Ask the hub for the commit that `revision` (None: the newest) stands for, and its files of some patterns.

    One question, once. Raises what the hub's library raises, or ValueError where the answer is none.
    """
    from huggingface_hub import HfApi, constants
    from huggingface_hub.utils import filter_repo_objects  # type: ignore[attr-defined]

    info = HfApi().dataset_info(hub_id, revision=revision, files_metadata=True, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    commit = info.sha or ""
    if not COMMIT.fullmatch(commit):
        raise ValueError("the hub names no commit")
    wanted = filter_repo_objects(info.siblings or (), allow_patterns=[*patterns], key=lambda file: file.rfilename)
    files = [_file(hub_id, commit, sibling) for sibling in wanted]
    return Listing(hub_id=hub_id, commit=commit, files={file.name: file for file in files})


def _file(hub_id: str, commit: str, sibling: Any) -> HubFile:
    from huggingface_hub import hf_hub_url

    name, digest = sibling.rfilename, (sibling.lfs.sha256 if sibling.lfs else sibling.blob_id) or ""
    # The name and the digest become paths of the cache.
    if sibling.size is None or not DIGEST.fullmatch(digest) or leads_outside(Path(commit), name):
        raise ValueError(f"the hub lists a file that cannot be, {name[:80]!r}")
    url = hf_hub_url(hub_id, name, repo_type="dataset", revision=commit)
    return HubFile(name=name, url=url, size=sibling.size, digest=digest)
