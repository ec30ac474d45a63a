"""What is scored on the same windows: the model, the baselines below it and the ceiling above it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..api import Mention, Sample
from ..data.prepared import Frames, Prepared, StoredFrame, Windows
from ..data.shards import ChosenRows, Rows
from ..model.spaces import Vectors
from .normalize import clean_text


@dataclass(frozen=True)
class Queries:
    """What a model looks for among candidates after each of W windows, and how candidates are placed beside it."""

    visual: Vectors
    """(W, e)."""
    text: Vectors
    """(W, f)."""
    image_keys: Callable[[Vectors], Vectors]
    """Gives (C, e) of candidate images by their vectors in the run's visual space (C, d)."""
    text_keys: Callable[[Vectors], Vectors]

    def take(self, rows: NDArray[np.int64]) -> Queries:
        """Return those of some windows."""
        return replace(self, visual=self.visual[rows], text=self.text[rows])


@dataclass(frozen=True)
class Series:
    """One way to answer W windows."""

    texts: Sequence[str]
    """(W,), in the one form."""
    images: Rows
    """(W, H, W, 3) uint8."""
    visual: Vectors | None = None
    """The images in the run's visual space, (W, d); None where no metric asks."""
    text: Vectors | None = None
    queries: Queries | None = None
    """What a model looks for among candidates, where it has learned to."""

    def take(self, rows: NDArray[np.int64]) -> Series:
        """Answer each window as another one is answered."""
        return Series(
            [self.texts[row] for row in rows.tolist()],
            ChosenRows(self.images, rows),
            None if self.visual is None else self.visual[rows],
            None if self.text is None else self.text[rows],
            None if self.queries is None else self.queries.take(rows),
        )


@dataclass(frozen=True)
class Truth:
    """What stands in W windows: their contexts, and what really followed. Only scoring looks at it."""

    stories: Sequence[str]
    context_texts: Sequence[tuple[str, ...]]
    """In the one form."""
    references: Sequence[str]
    images: Rows
    """The targets' pictures, (W, H, W, 3) uint8."""
    mentions: Sequence[Sequence[tuple[Mention, ...]]] | None = None
    """(W, K + 1): of each frame; None where no metric asks."""

    def samples(self, series: Series, rows: NDArray[np.int64]) -> list[Sample]:
        """Return the answers to some windows beside the truth."""
        predicted, true = series.images.gather(rows), self.images.gather(rows)
        mentions = [self.mentions[row] if self.mentions else [()] for row in rows.tolist()]
        return [
            Sample(
                story=self.stories[row],
                context_texts=self.context_texts[row],
                predicted_text=series.texts[row],
                reference_text=self.references[row],
                predicted_image=predicted[at],
                reference_image=true[at],
                context_mentions=tuple(mentions[at][:-1]),
                reference_mentions=mentions[at][-1],
            )
            for at, row in enumerate(rows.tolist())
        ]


def read_truth(frames: Frames, windows: Windows) -> Truth:
    """Look up what stands in some windows."""
    forms = cleaned(frames.texts, windows.text_rows)
    texts = [[forms[row] for row in rows] for rows in windows.text_rows.tolist()]
    return Truth(
        stories=windows.stories,
        context_texts=[tuple(row[:-1]) for row in texts],
        references=[row[-1] for row in texts],
        images=ChosenRows(frames.images, windows.image_rows[:, -1]),
    )


def read_mentions(prepared: Prepared, windows: Windows) -> list[list[tuple[Mention, ...]]]:
    """Look up what the source marks in each frame of some windows that are not padded, (W, K + 1)."""
    of_story = {name: [_mentions(frame) for frame in prepared.story(name).frames] for name in set(windows.stories)}
    return [
        of_story[story][start : start + windows.text_rows.shape[1]]
        for story, start in zip(windows.stories, windows.starts.tolist(), strict=True)
    ]


def _mentions(frame: StoredFrame) -> tuple[Mention, ...]:
    text = frame.text or ""
    return tuple(
        Mention(kind=entity.kind, ids=entity.ids, text=clean_text(text[entity.start : entity.end]))
        for entity in frame.entities
    )


def cleaned(texts: Sequence[str], rows: NDArray[np.int64]) -> Mapping[int, str]:
    """Return the one form of some texts by row, each made once."""
    return {row: clean_text(texts[row]) for row in np.unique(rows).tolist()}
