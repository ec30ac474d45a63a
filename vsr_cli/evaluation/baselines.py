"""The baselines that every score stands beside, and its ceiling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ..api import TextDecoder
from ..data.prepared import Frames, Windows
from ..data.shards import ArrayRows, ChosenRows
from ..model.spaces import Spaces, Vectors
from .normalize import clean_text
from .series import Series, Truth, cleaned
from .training_neighbors import Training

SHUFFLE_SEED = 0


@dataclass(frozen=True)
class Unavailable:
    """Why a baseline cannot be had, and what to do."""

    reason: str


@dataclass(frozen=True)
class WindowVectors:
    """The frames of the scored windows in the run's spaces, (W, K + 1, d) each."""

    visual: Vectors
    text: Vectors

    def take(self, rows: NDArray[np.int64]) -> WindowVectors:
        """Return those of some windows."""
        return WindowVectors(self.visual[rows], self.text[rows])


def copy_last(frames: Frames, windows: Windows, truth: Truth, vectors: WindowVectors) -> Series:
    """Answer with the last frame of the context."""
    return Series(
        [texts[-1] for texts in truth.context_texts],
        ChosenRows(frames.images, windows.image_rows[:, -2]),
        vectors.visual[:, -2],
        vectors.text[:, -2],
    )


def nearest_context(training: Training, vectors: WindowVectors) -> Series:
    """Answer with what followed the most similar context of the training split."""
    nearest = training.nearest(vectors.visual, vectors.text)  # (W,)
    frames, windows = training.prepared.frames, training.windows.take(nearest)
    forms = cleaned(frames.texts, windows.text_rows[:, -1])
    return Series(
        [forms[row] for row in windows.text_rows[:, -1].tolist()],
        ChosenRows(frames.images, windows.image_rows[:, -1]),
        training.visual[nearest, -1],
        training.text[nearest, -1],
    )


def typical(training: Training, spaces: Spaces, count: int) -> Series:
    """Answer every window with the most typical training text and the mean training image."""
    text = training.prepared.frames.texts[training.typical_text()]
    image = ArrayRows(training.mean_image()[None])
    one = Series([clean_text(text)], image, spaces.images(image, np.array([0])), spaces.written([text]))
    return one.take(np.zeros(count, np.int64))


def shuffled(model: Series, stories: Sequence[str]) -> Series | Unavailable:
    """Answer each window as the model answers one of another story, drawn once and for all.

    That is the model with its contexts shuffled between stories: an answer depends on the context alone.
    """
    if len(set(stories)) < 2:
        return Unavailable("there is only one story, so there is no other to take contexts from; prepare more stories")
    return model.take(between_stories(stories))


def between_stories(stories: Sequence[str], *, seed: int = SHUFFLE_SEED) -> NDArray[np.int64]:
    """Return each window (W,) the row of one of another story. No row comes twice unless one story has over half."""
    number = np.unique(np.asarray(stories, dtype=np.str_), return_inverse=True)[1]  # (W,)
    counts = np.bincount(number)
    random = np.random.default_rng(seed)
    place = random.permutation(len(counts))  # of each story in a row of all
    order = np.lexsort((random.permutation(len(number)), place[number]))  # (W,), story by story
    others = np.empty_like(order)
    others[order] = np.roll(order, -int(counts.max()))  # moved on by the longest, no window meets its own story
    for row in np.flatnonzero(number[others] == number).tolist():  # but where one story has over half of them
        others[row] = random.choice(np.flatnonzero(number != number[row]))
    return others


@dataclass(frozen=True)
class Ceiling:
    """The targets themselves, cut as the decoder would have to cut them."""

    series: Series
    truncated: float
    """The share of the references that are longer than the decoder can write."""


def ceiling(
    decoder: TextDecoder,
    frames: Frames,
    windows: Windows,
    truth: Truth,
    *,
    vectors: WindowVectors,
    spaces: Spaces | None,
) -> Ceiling:
    """Answer with the target, its text after a trip through the decoder's tokens. `spaces`: None if none asks."""
    rows, back = np.unique(windows.text_rows[:, -1], return_inverse=True)
    tokens = decoder.tokenize([frames.texts[row] for row in rows.tolist()])
    written = [clean_text(text) for text in decoder.detokenize(torch.from_numpy(tokens.ids))]
    eos = decoder.tokenize([""]).ids[0, 0]
    longer = tokens.ids[np.arange(len(rows)), tokens.mask.sum(axis=1) - 1] != eos  # a text that is cut does not end
    texts = [written[at] for at in back.tolist()]
    text = spaces.written(texts) if spaces else None
    series = Series(texts, truth.images, vectors.visual[:, -1], text)
    return Ceiling(series, float(longer[back].mean()))
