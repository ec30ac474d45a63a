"""Predicting every window of a split, free-running."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ..api import Decoding, NextQuery
from ..console import progress
from ..data.batches import Contexts
from ..data.features import to_array
from ..data.shards import ArrayRows
from ..model.losses.held_out import BATCH
from ..model.spaces import Vectors
from ..model.story_model import StoryModel
from ..system_errors import SCRATCH
from .normalize import clean_text
from .series import Queries, Series


def predict_all(
    model: StoryModel, contexts: Contexts, decoding: Decoding, *, what: str, form: Callable[[str], str] = clean_text
) -> Series:
    """Answer all windows, in their order. There is no argument through which a target could be seen.

    `form` is what is made of the texts that the model writes; results are of the one form alone.
    The pictures lie in a file that is gone once nobody reads them, since those of a large split may not fit memory.
    """
    texts: list[str] = []
    asked: list[NextQuery] = []
    images: NDArray[np.uint8] | None = None
    with progress() as bar:
        task = bar.add_task(what, total=len(contexts))
        for start in range(0, len(contexts), BATCH):
            indices = np.arange(start, min(start + BATCH, len(contexts)))
            prediction = model.predict(contexts.batch(indices), decoding)
            asked += [prediction.next] if prediction.next else []
            texts += [form(text) for text in prediction.texts]
            drawn = to_bytes(prediction.images)
            if images is None:
                images = _laid_out((len(contexts), *drawn.shape[1:]))
            images[indices] = drawn
            bar.advance(task, len(indices))
    assert images is not None, "a split without windows is not predicted"
    return Series(texts, ArrayRows(images), queries=_joined(asked) if asked else None)


def _joined(asked: Sequence[NextQuery]) -> Queries:
    """Put the queries of all batches together, on the host."""
    device = asked[0].visual.device

    def on_host(keys: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Vectors], Vectors]:
        @torch.no_grad()
        def place(vectors: Vectors) -> Vectors:
            return to_array(keys(torch.from_numpy(vectors).to(device)))

        return place

    return Queries(
        np.concatenate([to_array(part.visual) for part in asked]),
        np.concatenate([to_array(part.text) for part in asked]),
        on_host(asked[0].image_keys),
        on_host(asked[0].text_keys),
    )


def to_bytes(images: torch.Tensor) -> NDArray[np.uint8]:
    """Turn images (B, 3, H, W) in [0, 1] into (B, H, W, 3) uint8."""
    array: NDArray[np.uint8] = (images * 255).round().byte().movedim(1, -1).cpu().numpy()
    return array


def _laid_out(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    with tempfile.TemporaryFile(prefix=f".{SCRATCH}.") as file:
        try:
            # Without its space, a write through the map would end the process when the disk is full.
            os.posix_fallocate(file.fileno(), 0, max(1, math.prod(shape)))
        except OSError as error:
            error.filename = tempfile.gettempdir()
            raise
        return np.memmap(file, dtype=np.uint8, mode="r+", shape=shape)  # the map outlives the file's name
