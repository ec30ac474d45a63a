"""Types of the content of a prepared folder: texts, images, frames, stories and windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from ..api import Entity
from .shards import Rows


class Texts(Sequence[str]):
    """Texts in a memory-mapped column, converted to strings on access."""

    def __init__(self, column: Any, rows: NDArray[np.int64] | None = None) -> None:
        self._column = column
        self._rows = rows

    def __len__(self) -> int:
        return len(self._column) if self._rows is None else len(self._rows)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        at = range(len(self))[index]
        return str(self._column[at if self._rows is None else int(self._rows[at])].as_py())

    def take(self, rows: NDArray[np.int64]) -> Texts:
        """Return a selection of the texts, which is also read on access."""
        return Texts(self._column, rows if self._rows is None else self._rows[rows])


@dataclass(frozen=True)
class Frames:
    """Distinct images and texts; windows refer to them by row."""

    images: Rows
    """(n, H, W, 3) uint8."""
    texts: Sequence[str]


@dataclass(frozen=True)
class ImageFacts:
    """Size, digest and hash of each distinct image, (n,) each."""

    width: NDArray[np.int32]
    """In the source, upright, in pixels."""
    height: NDArray[np.int32]
    digest: NDArray[np.uint8]
    """(n, 16): of the prepared pixels."""
    hash: NDArray[np.uint64]
    """Perceptual: see `images.perceptual_hash`."""


@dataclass(frozen=True)
class StoredFrame:
    """A frame as it is stored."""

    index: int
    text: str | None
    text_row: int
    """-1 where there is no text."""
    image_row: int
    """-1 where there is no image."""
    entities: tuple[Entity, ...]
    problem: str | None
    """The code of the problem that excludes the frame from all windows, if any."""


@dataclass(frozen=True)
class StoredStory:
    """A story as it is stored; it may be in no split."""

    id: str
    split: str | None
    group: str
    dropped: str | None
    """The code of the reason why the story is in no split."""
    source_characters: int | None
    """See `Story.source_characters`."""
    analysis: dict[str, Any] | None
    """`Story.analysis` as in JSON."""
    frames: tuple[StoredFrame, ...]


@dataclass(frozen=True)
class Windows:
    """W windows of F = K + 1 frames as arrays; the last frame is the target."""

    stories: Sequence[str]
    """The story of each window."""
    image_rows: NDArray[np.int64]
    """(W, F) rows of `Frames.images`."""
    text_rows: NDArray[np.int64]
    """(W, F) rows of `Frames.texts`."""
    repeated: NDArray[np.bool_]
    """(W, F): True for a frame that repeats the previous one to fill a short context."""
    starts: NDArray[np.int64]
    """(W,) index in its story of each window's first frame."""

    def __len__(self) -> int:
        return len(self.image_rows)

    def take(self, rows: NDArray[np.int64]) -> Windows:
        """Return a selection of the windows."""
        return Windows(
            [self.stories[row] for row in rows],
            self.image_rows[rows],
            self.text_rows[rows],
            self.repeated[rows],
            self.starts[rows],
        )
