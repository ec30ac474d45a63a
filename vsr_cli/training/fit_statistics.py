"""Fitting the parts that compute statistics of the training frames, such as a mean, before the first step."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from ..api import FitsTraining, TrainingFrames
from ..console import say
from ..data.cache.extraction import Features
from ..data.prepared import Prepared
from ..data.prepared_types import Windows
from ..model.embedding_spaces import EmbeddingSpaces
from ..model.story_model import StoryModel
from ..progress import progress

AT_ONCE = 8192
"""Windows whose distinct frames are found at a time: the windows of a story share most of theirs."""
MOST = 20_000
"""Frames used, of whole stories evenly chosen from all: their vectors take a few hundred megabytes."""


def fit_to_training(model: StoryModel, frames: TrainingFrames) -> None:
    """Fit the parts and loss terms that have a `fit` to some frames."""
    parts = (*model.terms.values(), model.text_decoder, model.image_decoder)
    fitted = [part for part in parts if isinstance(part, FitsTraining)]
    if not fitted:
        return
    say(f"fitting to {len(frames.texts)} training frames")
    for part in fitted:
        part.fit(frames)


def training_frames(
    model: StoryModel,
    prepared: Prepared,
    features: Features,
    *,
    device: torch.device,
    windows: Windows | None = None,
    most: int = MOST,
) -> TrainingFrames:
    """Return the distinct frames of the training windows, story by story and in their order, at most about `most`."""
    windows = prepared.windows("train") if windows is None else windows
    story, image_rows, text_rows = _distinct(windows).T  # (F,) each
    stories = int(story.max()) + 1
    wanted = max(1, round(stories * min(1.0, most / len(story))))
    chosen = np.isin(story, np.linspace(0, stories - 1, wanted).round().astype(np.int64))
    story, image_rows, text_rows = story[chosen], image_rows[chosen], text_rows[chosen]
    frames, spaces = prepared.frames, EmbeddingSpaces(model, device)
    return TrainingFrames(
        texts=[frames.texts[row] for row in text_rows.tolist()],
        images=lambda positions: frames.images.gather(image_rows[np.asarray(positions, dtype=np.int64)]),
        visual=lambda: spaces.images(frames.images, image_rows, features=features.visual),
        text=lambda: spaces.texts(features.tokens, text_rows, features=features.text),
        visual_trains=model.visual.cache_key is None,
        text_trains=model.text.cache_key is None,
        story=story,
        count_steps=_count_steps,
    )


def _count_steps(steps: int, description: str) -> Iterator[int]:
    with progress() as bar:
        yield from bar.track(range(steps), description=description)


def _distinct(windows: Windows) -> NDArray[np.int64]:
    """Return the story, image row and text row of each distinct frame of some windows, (F, 3), in their order."""
    story = np.unique(windows.stories, return_inverse=True)[1].astype(np.int64)  # (W,)
    width = windows.image_rows.shape[1]
    longest = int(windows.starts.max()) + width
    keys, places = [], []
    for start in range(0, len(windows), AT_ONCE):
        part = np.arange(start, min(start + AT_ONCE, len(windows)))
        frames = story[part, None] * longest + windows.starts[part, None] + np.arange(width)  # (n, K + 1)
        real = np.flatnonzero(~windows.repeated[part])
        key, first = np.unique(frames.reshape(-1)[real], return_index=True)
        keys.append(key)
        places.append(start * width + real[first])
    key, first = np.unique(np.concatenate(keys), return_index=True)
    place = np.concatenate(places)[first]
    return np.stack([key // longest, windows.image_rows.reshape(-1)[place], windows.text_rows.reshape(-1)[place]], 1)
