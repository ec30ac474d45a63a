"""What a dataset gives: stories of frames, and word of what it had to reject."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, kw_only=True)
class Entity:
    """A stretch of a frame's clean text that the source ties to something in the story."""

    kind: str
    """What the source calls it, e.g. "object", "action", "landmark"."""
    ids: tuple[str, ...]
    """The things it stands for, in the source's own names; local to the story."""
    start: int
    """Index of its first character in `Frame.text`."""
    end: int
    """Index after its last character in `Frame.text`."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One (image, text) pair of a story, as its source holds it.

    The image is a path or the encoded bytes of a file: vsr decodes it, so that every dataset's images meet
    the same checks. Either half is None where the source lacks it; such a frame is reported, never filled in.
    """

    image: Path | bytes | None
    text: str | None
    entities: tuple[Entity, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Note:
    """A defect that the dataset found in a story, and repaired or left."""

    code: str
    """A short stable name, lower-case with underscores, e.g. "mismatched_close"."""
    detail: str
    frame: int | None = None
    """Index of the frame (from 0) that it concerns, or None for the whole story."""


Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels of the image as its source holds it; right and bottom are past the last."""


@dataclass(frozen=True, kw_only=True)
class Character:
    """A person whom the source describes in one image. None: the source does not say, or not legibly."""

    id: str
    name: str | None
    description: str | None
    emotions: str | None
    actions: str | None
    narrative_function: str | None
    box: Box | None


@dataclass(frozen=True, kw_only=True)
class Thing:
    """A thing that the source describes in one image. None: the source does not say, or not legibly."""

    id: str
    description: str | None
    function: str | None
    interaction: str | None
    narrative_function: str | None
    box: Box | None


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One aspect of where and when an image plays, e.g. its location. None: the source does not say."""

    element: str
    description: str | None
    mood: str | None
    time: str | None
    narrative_function: str | None


@dataclass(frozen=True, kw_only=True)
class FrameAnalysis:
    """What the source says of one image; all empty where it says nothing."""

    characters: tuple[Character, ...] = ()
    things: tuple[Thing, ...] = ()
    settings: tuple[Setting, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A part of the narrative, e.g. its introduction, in the source's own words; the name is "" where it has none."""

    name: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """What the source says of a story's images before it tells the story: one analysis a frame, in order."""

    frames: tuple[FrameAnalysis, ...]
    phases: tuple[Phase, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Story:
    """A story: its frames in order, and what the source says about where it belongs."""

    id: str
    frames: tuple[Frame, ...]
    group: str | None = None
    """Stories of one group never part across splits. None: the story is a group of its own."""
    split: str | None = None
    """The source's own split: "train", "validation" or "test". None: vsr splits."""
    notes: tuple[Note, ...] = ()
    analysis: Analysis | None = None
    """None where the source has no such thing. Nothing is trained on it: it speaks of a window's target too."""
    source_characters: int | None = None
    """Length of the source's own text of the story, markup included. None: the source has no markup."""


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A story that could not be read at all: where it is, a stable code for the reason, and a line of detail."""

    where: str
    code: str
    detail: str


class Dataset(Protocol):
    """A source of stories. Built by `build(options) -> Dataset`."""

    def read(self, source: str | None) -> Iterator[Story | Rejected]:
        """Yield the stories of a source in a fixed order, one at a time, holding few in memory.

        `source` is what stands on the command line (a folder, a hub id), None if nothing does. Raises
        VsrError if the source as a whole cannot be read; one bad story is a `Rejected`, not an error.
        """
        ...

    def describe(self, source: str | None) -> Mapping[str, str]:
        """Return facts for the manifest, e.g. {"source": ..., "revision": ..., "licence": ...}. Reads no story."""
        ...


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What can be told of a source without reading its stories."""

    stories: int | None = None
    """How many stories `read` will yield, for a progress bar. None: not known."""
    state: str | None = None
    """A text that changes whenever what `read` would yield does. None: only reading tells."""


@runtime_checkable
class HasSurvey(Protocol):
    """A dataset that can tell something of a source at little cost. A `state` lets `vsr prepare` skip reading it."""

    def survey(self, source: str | None) -> Survey:
        """Look at a source without reading a story. Raises VsrError if it cannot be read at all."""
        ...
