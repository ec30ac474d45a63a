"""Files of the hub that are read from there as they are needed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import IO, Any

from .listing import Listing
from .refusals import StopRequest

PROTOCOL = "vsr-hub"
WINDOWS = 8


@dataclass(frozen=True, kw_only=True)
class HubStream:
    """The files of one commit of a dataset. Their bytes come from the hub when they are read, and none are kept.

    The `datasets` library reads them by `url` and `storage_options`. Whoever reads them, an error of the hub is a
    VsrError of one line that says how far it got, within a minute: a connection that breaks is taken up again, and
    given up once three in a row have brought nothing.
    """

    listing: Listing
    wish: StopRequest
    windows: deque[tuple[str, int, bytes]] = field(
        default_factory=lambda: deque(maxlen=WINDOWS), repr=False, compare=False
    )
    """What the last few short reads have brought: the file, where it begins, the bytes."""

    def __str__(self) -> str:
        return str(self.wish)

    @property
    def names(self) -> Iterable[str]:
        """The paths of the files in the repository, in the hub's order."""
        return self.listing.files

    def url(self, name: str) -> str:
        """Return the address of a file for `load_dataset(..., data_files=)`, together with `storage_options`."""
        return f"{PROTOCOL}://{self.listing.hub_id}@{self.listing.commit}/{name}"

    @property
    def storage_options(self) -> dict[str, Any]:
        """What `load_dataset(..., storage_options=)` needs to read the addresses."""
        import fsspec  # type: ignore[import-untyped]

        # `HfFileSystem`, which reads hf://, repeats a request that fails six times, and `datasets` repeats that twenty
        # times, so that a hub that stalls takes half an hour to be noticed; and it lists files without any timeout.
        fsspec.register_implementation(PROTOCOL, f"{__package__}.filesystem.HubFileSystem")
        return {PROTOCOL: {"stream": self}}

    def open(self, name: str) -> IO[bytes]:
        """Open one of the files; only what is read of it, and some more, comes from the hub."""
        from .filesystem import HubFileSystem

        file: IO[bytes] = HubFileSystem(stream=self).open(self.url(name), "rb")
        return file

    def read(self, name: str) -> bytes:
        """Return all of one of the files."""
        with self.open(name) as file:
            return file.read()
