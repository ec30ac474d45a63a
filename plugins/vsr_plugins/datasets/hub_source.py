"""Datasets of the Hugging Face Hub: their commits, downloads and streams, all by huggingface_hub."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from vsr_cli.api import VsrError, hub_reason, quiet_hub, terminal_bar

COMMIT = re.compile("[0-9a-f]{40}")


class HubSource:
    """A dataset of the Hub at one revision. Its commit is resolved once, even if the branch changes later.

    `revision` is a branch, tag or commit; None is the default branch. `patterns` select files by path. `instead` ends
    every error line with an alternative, e.g. "or name a local folder of its files".

    Every method raises VsrError, in one line, if the Hub or a file cannot be read.
    """

    def __init__(
        self, hub_id: str, *, revision: str | None, patterns: Sequence[str], instead: str, streaming: bool = False
    ) -> None:
        self.hub_id, self.revision, self.streaming = hub_id, revision, streaming
        self._patterns, self._instead = [*patterns], instead
        self._commit: str | None = None

    def __str__(self) -> str:
        return f"{self.hub_id} at revision {self.revision}" if self.revision else self.hub_id

    def known_commit(self) -> str | None:
        """Return the resolved commit, or the cached one, or None. Makes no request."""
        if self._commit is None and not self.streaming and (folder := self.cached()) is not None:
            return folder.name
        return self._commit

    def resolve_commit(self) -> str:
        """Return the commit that will be read. If the Hub cannot be reached, it is the cached one."""
        if self._commit is None and self.revision is not None and COMMIT.fullmatch(self.revision):
            self._commit = self.revision
        return self._commit or self._list()[0]

    def cached(self) -> Path | None:
        """Return the cache's folder of the commit if it is complete. Makes no request."""
        from huggingface_hub import snapshot_download

        try:
            folder = snapshot_download(
                self.hub_id,
                repo_type="dataset",
                revision=self._commit or self.revision,
                allow_patterns=self._patterns,
                local_files_only=True,
            )
        except (OSError, ValueError):
            return None
        return Path(folder)

    def download(self) -> Path:
        """Return the folder of the files, named after the commit; download what the cache lacks.

        After an interruption the next call downloads the files that are still missing. If the Hub cannot be reached,
        a complete cached copy is used.
        """
        from huggingface_hub import snapshot_download

        self.resolve_commit()  # with a timeout, which snapshot_download has not
        if (cached := self.cached()) is not None:
            return cached
        with self.errors():
            folder = snapshot_download(
                self.hub_id,
                repo_type="dataset",
                revision=self.revision,
                allow_patterns=self._patterns,
                tqdm_class=terminal_bar(),
            )
        self._commit = Path(folder).name
        return Path(folder)

    def stream(self) -> HubStream:
        """Return the files of the commit, which are read from the Hub when needed and not stored."""
        from datasets import config

        # huggingface_hub retries each request itself.
        config.STREAMING_READ_MAX_RETRIES = config.STREAMING_OPEN_MAX_RETRIES = 1
        commit, names = self._list()
        return HubStream(source=self, commit=commit, names=names)

    def _list(self) -> tuple[str, tuple[str, ...]]:
        """Return the commit and its selected files by name; of a cached commit no files."""
        from huggingface_hub import HfApi, constants
        from huggingface_hub.errors import (  # type: ignore[attr-defined]
            HTTPError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )
        from huggingface_hub.utils import filter_repo_objects  # type: ignore[attr-defined]

        revision = self._commit or self.revision
        with self.errors():
            try:
                info = HfApi().dataset_info(self.hub_id, revision=revision, timeout=constants.HF_HUB_ETAG_TIMEOUT)
            except (RepositoryNotFoundError, RevisionNotFoundError):
                raise
            except (HTTPError, OSError) as error:
                folder = None if self.streaming else self.cached()
                if folder is None:
                    raise ConnectionError from error
                self._commit = folder.name
                return folder.name, ()
        names = filter_repo_objects((file.rfilename for file in info.siblings or ()), allow_patterns=self._patterns)
        self._commit = str(info.sha)
        return self._commit, tuple(names)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Convert errors of huggingface_hub to one VsrError, and silence its warnings about the same problem."""
        from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError: of its HTTP client
            GatedRepoError,
            HTTPError,
            LocalEntryNotFoundError,
            OfflineModeIsEnabled,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )

        try:
            with quiet_hub():
                yield
        except GatedRepoError as error:
            what = "this dataset requires a login; accept its terms on the Hub and run `hf auth login`"
            raise VsrError(f"{self}: {what}, {self._instead}") from error
        except RepositoryNotFoundError as error:
            what = "no such dataset on the Hugging Face Hub, or a private one; check the id"
            raise VsrError(f"{self}: {what}, {self._instead}") from error
        except RevisionNotFoundError as error:
            raise VsrError(f"{self}: the dataset has no such revision; leave it out for the newest") from error
        except (LocalEntryNotFoundError, ConnectionError) as error:
            cause = error.__cause__ or error
            if isinstance(cause, OfflineModeIsEnabled):
                what = "streaming needs the Hugging Face Hub, but" if self.streaming else "not in the cache, and"
                what = f"{what} downloads are off (HF_HUB_OFFLINE); unset it and run the same command again"
                raise VsrError(f"{self}: {what}, {self._instead}") from error
            what = "streaming needs the Hugging Face Hub, which" if self.streaming else "not in the cache, and the Hub"
            remedy = "check the connection and HF_ENDPOINT, and run the same command again"
            raise VsrError(
                f"{self}: {what} cannot be reached ({hub_reason(cause)}); {remedy}, {self._instead}"
            ) from error
        except (OSError, HTTPError, ValueError, RuntimeError) as error:
            what = "streaming" if self.streaming else "downloading"
            remedy = "run the same command again" + ("" if self.streaming else ", which skips complete files")
            raise VsrError(f"{self}: {what} it failed ({hub_reason(error)}); {remedy}, {self._instead}") from error


@dataclass(frozen=True, kw_only=True)
class HubStream:
    """The files of one commit, downloaded as they are read and not stored."""

    source: HubSource
    commit: str
    names: Sequence[str]
    """Paths in the repository."""

    def __str__(self) -> str:
        return str(self.source)

    def url(self, name: str) -> str:
        """Return the address of a file for `load_dataset(..., data_files=)`."""
        return f"hf://datasets/{self.source.hub_id}@{self.commit}/{name}"

    def open(self, name: str) -> IO[bytes]:
        """Open one of the files to read."""
        from huggingface_hub import HfFileSystem

        file: IO[bytes] = HfFileSystem().open(self.url(name), "rb")
        return file

    def read(self, name: str) -> bytes:
        """Return all of one of the files."""
        with self.source.errors(), self.open(name) as file:
            return file.read()
