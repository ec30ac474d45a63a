"""Fetches a dataset's files from the Hugging Face hub, once, into its cache."""

from __future__ import annotations

from pathlib import Path

from vsr_cli.api import VsrError

TABLE_SUFFIXES = (".parquet", ".arrow", ".json", ".jsonl", ".ndjson", ".csv", ".tsv")
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
FILES = [
    "README.md",
    *(f"*{form(end)}" for end in TABLE_SUFFIXES + PICTURE_SUFFIXES for form in (str.lower, str.upper)),
]
"""What is fetched, and all that is read: never a script, nor anything that unpickles."""
INSTEAD = "or give a local folder of its files"


def fetch(hub_id: str, *, revision: str | None) -> Path:
    """Give the folder of a hub dataset's files, fetching what the cache lacks; a stopped fetch goes on later.

    `datasets.load_dataset` would fetch by itself, but retries an unreachable hub for half a minute before it
    says so, and keeps a second, unpacked copy of all pictures. Raises VsrError.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError: its client's own, kept there
        GatedRepoError,
        HTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    asked = f"{hub_id} at revision {revision}" if revision else hub_id
    try:
        return Path(snapshot_download(hub_id, repo_type="dataset", revision=revision, allow_patterns=FILES))
    except GatedRepoError as error:
        what = "this dataset asks for a login; accept its terms on the hub and run `hf auth login`"
        raise VsrError(f"{asked}: {what}, {INSTEAD}") from error
    except RepositoryNotFoundError as error:
        what = "no such dataset on the Hugging Face hub, or a private one; check the id"
        raise VsrError(f"{asked}: {what}, {INSTEAD}") from error
    except RevisionNotFoundError as error:
        raise VsrError(f"{asked}: the dataset has no such revision; leave it out for the newest") from error
    except LocalEntryNotFoundError as error:
        what = "not in the local cache, and the Hugging Face hub cannot be reached"
        remedy = f"check the connection, HF_ENDPOINT and HF_HUB_OFFLINE, {INSTEAD}"
        raise VsrError(f"{asked}: {what}; {remedy}") from error
    except (OSError, HTTPError, ValueError, RuntimeError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise VsrError(f"{asked}: fetching it failed ({reason}); try again, {INSTEAD}") from error


def fetched_commit(hub_id: str, *, revision: str | None) -> str:
    """Give the commit of the files that the cache holds, or the revision as asked for where it holds none."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = snapshot_download(
            hub_id, repo_type="dataset", revision=revision, allow_patterns=FILES, local_files_only=True
        )
    except (LocalEntryNotFoundError, ValueError):
        return revision or "main"
    # The cache keeps each commit's files in a folder of that name.
    return Path(folder).name
