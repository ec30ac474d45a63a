"""Output of datasets: stories of frames, and rejected stories."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, kw_only=True)
class Entity:
    """A span of the clean text of a frame that the source annotates as an entity of the story."""

    kind: str
    """Its kind in the source, e.g. "object", "action", "landmark"."""
    ids: tuple[str, ...]
    """The ids of the entities in the source, which are local to the story."""
    start: int
    """Index of its first character in `Frame.text`."""
    end: int
    """Index after its last character in `Frame.text`."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One (image, text) pair of a story, as in the source.

    The image is a path or the encoded bytes of a file: vsr decodes it, with the same checks for all datasets. Either
    may be None if the source lacks it; such a frame is reported, never filled in.
    """

    image: Path | bytes | None
    text: str | None
    entities: tuple[Entity, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Note:
    """A problem that the dataset found in a story, repaired or not."""

    code: str
    """A short stable name, lower-case with underscores, e.g. "mismatched_close"."""
    detail: str
    frame: int | None = None
    """Index of the frame (from 0) that it concerns, or None for the whole story."""


Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels of the image in the source; right and bottom are exclusive."""


@dataclass(frozen=True, kw_only=True)
class Character:
    """A person that the source describes in one image. None: absent in the source, or unreadable."""

    id: str
    name: str | None
    description: str | None
    emotions: str | None
    actions: str | None
    narrative_function: str | None
    box: Box | None


@dataclass(frozen=True, kw_only=True)
class Thing:
    """A thing that the source describes in one image. None: absent in the source, or unreadable."""

    id: str
    description: str | None
    function: str | None
    interaction: str | None
    narrative_function: str | None
    box: Box | None


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One aspect of the setting of an image, e.g. its location. None: absent in the source."""

    element: str
    description: str | None
    mood: str | None
    time: str | None
    narrative_function: str | None


@dataclass(frozen=True, kw_only=True)
class FrameAnalysis:
    """The annotations of one image in the source; empty if there are none."""

    characters: tuple[Character, ...] = ()
    things: tuple[Thing, ...] = ()
    settings: tuple[Setting, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A part of the narrative, e.g. its introduction, in the words of the source; the name is "" if it has none."""

    name: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """The analysis of the images of a story in the source: one per frame, in order."""

    frames: tuple[FrameAnalysis, ...]
    phases: tuple[Phase, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Story:
    """A story: its frames in order, and its group and split in the source."""

    id: str
    frames: tuple[Frame, ...]
    group: str | None = None
    """Stories of one group are always in the same split. None: the story is a group of its own."""
    split: str | None = None
    """The source's own split: "train", "validation" or "test". None: vsr splits."""
    notes: tuple[Note, ...] = ()
    analysis: Analysis | None = None
    """None if the source has none. It is not used in training, as it also describes targets."""
    source_characters: int | None = None
    """Length of the source's own text of the story, markup included. None: the source has no markup."""


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A story that could not be read: its location, a stable code for the reason, and one line of detail."""

    where: str
    code: str
    detail: str


class Dataset(Protocol):
    """A source of stories. Built by `build(options) -> Dataset`."""

    def read(self, source: str | None) -> Iterator[Story | Rejected]:
        """Yield the stories of a source in a fixed order, one at a time, holding few in memory.

        `source` is that of the command line (a folder, a Hub id), or None. Raises
        VsrError if the source as a whole cannot be read; one bad story is a `Rejected`, not an error.
        """
        ...

    def describe(self, source: str | None) -> Mapping[str, str]:
        """Return facts for the manifest, e.g. {"source": ..., "revision": ..., "licence": ...}. Reads no story."""
        ...


@dataclass(frozen=True, kw_only=True)
class Survey:
    """Facts about a source that are known without reading its stories."""

    stories: int | None = None
    """The number of stories that `read` yields, for a progress bar. None: unknown."""
    state: str | None = None
    """A text that changes whenever the output of `read` changes. None: unknown without reading."""


@runtime_checkable
class HasSurvey(Protocol):
    """A dataset with a fast survey of a source. A `state` lets `vsr prepare` skip an unchanged source."""

    def survey(self, source: str | None) -> Survey:
        """Return a survey of a source without reading a story. Raises VsrError if the source cannot be read."""
        ...
