"""A dataset of the hub as a plugin reads it: which commit is meant, and how to come by its files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .download import cached_folder, download, is_fetched
from .listing import COMMIT, Listing, ask
from .refusals import OutOfReach, StopRequest, told_in_one_line
from .stream import HubStream


class HubSource:
    """A dataset of the hub, whose commit is settled the first time that it matters, and stays: a branch may move on.

    `revision` is a branch, a tag or a commit, None for the newest. `patterns` choose files by their paths ("*" also
    stands for "/"). `instead` ends the lines of errors, e.g. "or give a local folder of its files". With `streaming`,
    the cache of fetched files is neither read nor written.

    Each method raises VsrError, of one line, within a few seconds more than the hub library's own two timeouts
    (HF_HUB_ETAG_TIMEOUT, and HF_HUB_DOWNLOAD_TIMEOUT for each of three tries). Gated and private datasets are read
    as that library's login allows.
    """

    def __init__(
        self, hub_id: str, *, revision: str | None, patterns: Sequence[str], instead: str, streaming: bool = False
    ) -> None:
        self._patterns = patterns
        self._wish = StopRequest(hub_id=hub_id, revision=revision, streaming=streaming, instead=instead)
        self._commit: str | None = None
        self._listing: Listing | None = None
        self._folder: Path | None = None

    def known_commit(self) -> str | None:
        """Return the settled commit, or what the cache holds for the revision; None for neither. Asks no hub."""
        if self._commit is None and not self._wish.streaming and (folder := self._cached()) is not None:
            return folder.name
        return self._commit

    def settled_commit(self) -> str:
        """Return the commit that will be read. The hub is asked, unless the revision is a commit itself.

        Where the hub is out of reach, it is the one in the cache, as for `fetched`.
        """
        if self._commit is None:
            revision = self._wish.revision
            if revision is not None and COMMIT.fullmatch(revision):
                self._commit = revision
            else:
                self._ask()
        assert self._commit is not None
        return self._commit

    def cached(self) -> Path | None:
        """Return the cache's folder of the settled commit if it is all there. Asks no hub."""
        if self._listing is not None and not is_fetched(self._listing):
            return None
        folder = self._folder or self._cached()
        return folder if folder is not None and folder.name == self._commit else None

    def fetched(self) -> Path:
        """Return the folder of the files, fetching what the cache lacks; a stopped fetch goes on with the next call.

        The folder's name is the commit. Where the hub is out of reach, or down, a copy in the cache is given instead.
        """
        if self._folder is None and self._listing is None:
            self._ask()
        if self._folder is None:
            assert self._listing is not None
            with told_in_one_line(self._wish):
                self._folder = download(self._listing, revision=self._wish.revision)
        return self._folder

    def stream(self) -> HubStream:
        """Return the files of the commit, to be read from the hub as they are needed. Nothing is kept of them."""
        if self._listing is None:
            self._ask()
        assert self._listing is not None
        return HubStream(listing=self._listing, wish=self._wish)

    def _ask(self) -> None:
        """Settle the commit with what the hub says, or with what the cache holds where the hub says nothing."""
        from huggingface_hub.errors import (  # type: ignore[attr-defined]
            HTTPError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )

        with told_in_one_line(self._wish):
            try:
                self._listing = ask(self._wish.hub_id, revision=self._wish.revision, patterns=self._patterns)
                self._commit = self._listing.commit
            except (RepositoryNotFoundError, RevisionNotFoundError):
                raise
            except (HTTPError, OSError) as error:
                self._folder = None if self._wish.streaming else self._cached()
                if self._folder is None:
                    raise OutOfReach from error
                self._commit = self._folder.name

    def _cached(self) -> Path | None:
        try:
            return cached_folder(
                self._wish.hub_id, revision=self._commit or self._wish.revision, patterns=self._patterns
            )
        except (OSError, ValueError):
            return None
