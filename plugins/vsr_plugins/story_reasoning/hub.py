"""Fetches the dataset's parquet files from the Hugging Face hub, once, into its cache."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from vsr_cli.api import VsrError

from .download import Cut, Download, download

HUB_ID = "daniel3303/StoryReasoning"
FILES = "data/*.parquet"
INSTEAD = "or give a local folder in the hub's layout (data/train-*.parquet, data/test-*.parquet)"


def fetch(hub_id: str, *, revision: str | None) -> Path:
    """Give the folder of a hub dataset's files, fetching what the cache lacks; a stopped fetch goes on later.

    The folder's name is the commit that `revision` (None: the newest) stood for. Where the hub is out of
    reach, or down, a complete copy in the cache is given instead. Raises VsrError, of one line, within a
    few seconds more than the hub library's own two timeouts (HF_HUB_ETAG_TIMEOUT, HF_HUB_DOWNLOAD_TIMEOUT).

    `datasets.load_dataset` would fetch by itself, but retries an unreachable hub for half a minute before it
    says so, and keeps a second, unpacked copy of all pictures. `snapshot_download` waits without end for a hub
    that takes the call and says nothing, and throws away the part of a file that it has when it stops, which
    may be hundreds of megabytes. So the files are fetched by `download`, into the places of that library's cache.
    """
    from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError: its client's own, kept there
        GatedRepoError,
        HTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    asked = f"{hub_id} at revision {revision}" if revision else hub_id
    try:
        return _fetch(hub_id, revision)
    except GatedRepoError as error:
        what = "this dataset asks for a login; accept its terms on the hub and run `hf auth login`"
        raise VsrError(f"{asked}: {what}, {INSTEAD}") from error
    except RepositoryNotFoundError as error:
        what = f"no such dataset on the Hugging Face hub, or a private one; check the id (default: {HUB_ID})"
        raise VsrError(f"{asked}: {what}, {INSTEAD}") from error
    except RevisionNotFoundError as error:
        raise VsrError(f"{asked}: the dataset has no such revision; leave it out for the newest") from error
    except LocalEntryNotFoundError as error:
        why = _reason(error.__cause__ or error)
        what = f"not in the local cache, and the Hugging Face hub cannot be reached ({why})"
        remedy = f"check the connection, HF_ENDPOINT and HF_HUB_OFFLINE, {INSTEAD}"
        raise VsrError(f"{asked}: {what}; {remedy}") from error
    except Cut as error:
        had = f"{error.had / 1e6:.1f} of {error.size / 1e6:.1f} MB"
        what = f"fetching {error.name} stopped at {had} ({_reason(error.__cause__ or error)})"
        raise VsrError(f"{asked}: {what}; the same command goes on from there, {INSTEAD}") from error
    except (OSError, HTTPError, ValueError, RuntimeError) as error:
        raise VsrError(f"{asked}: fetching it failed ({_reason(error)}); try again, {INSTEAD}") from error


def fetched_commit(hub_id: str, *, revision: str | None) -> str | None:
    """Give the commit of the files that the cache holds for a revision, None where it does not hold them all."""
    try:
        # The cache keeps each commit's files in a folder of that name.
        return _cached(hub_id, revision).name
    except (OSError, ValueError):
        return None


def _fetch(hub_id: str, revision: str | None) -> Path:
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import (  # type: ignore[attr-defined]
        HTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )
    from huggingface_hub.file_download import repo_folder_name

    timeout = constants.HF_HUB_ETAG_TIMEOUT
    try:
        info = HfApi().dataset_info(hub_id, revision=revision, files_metadata=True, timeout=timeout)
    except (RepositoryNotFoundError, RevisionNotFoundError):
        raise
    except (HTTPError, OSError) as error:
        try:
            return _cached(hub_id, revision)
        except LocalEntryNotFoundError as absent:
            raise absent from error
    if info.sha is None:
        raise ValueError("the hub names no commit")
    # https://huggingface.co/docs/huggingface_hub/guides/manage-cache says where what lies.
    folder = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=hub_id, repo_type="dataset")
    download(_downloads(hub_id, info, folder))
    if revision != info.sha:
        ref = folder / "refs" / (revision or constants.DEFAULT_REVISION)
        ref.parent.mkdir(parents=True, exist_ok=True)
        new = ref.with_name(f"{ref.name}.new")
        new.write_text(info.sha, encoding="utf-8")
        new.replace(ref)
    return folder / "snapshots" / info.sha


def _cached(hub_id: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    return Path(
        snapshot_download(hub_id, repo_type="dataset", revision=revision, allow_patterns=FILES, local_files_only=True)
    )


def _downloads(hub_id: str, info: Any, folder: Path) -> list[Download]:
    """Say for each parquet file of a commit (a `DatasetInfo` with its files' metadata) whence it comes and where to."""
    from huggingface_hub import hf_hub_url

    found = []
    for file in info.siblings or ():
        path = PurePosixPath(file.rfilename)
        if len(path.parts) == 2 and path.match(FILES):
            digest = file.lfs.sha256 if file.lfs else None
            found.append(
                Download(
                    name=file.rfilename,
                    url=hf_hub_url(hub_id, file.rfilename, repo_type="dataset", revision=info.sha),
                    size=file.size,
                    sha256=digest,
                    blob=folder / "blobs" / (digest or file.blob_id),
                    link=folder / "snapshots" / info.sha / file.rfilename,
                    lock=folder.parent / ".locks" / folder.name / f"{digest or file.blob_id}.lock",
                )
            )
    return found


def _reason(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "").strip() or type(error).__name__
