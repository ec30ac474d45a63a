"""What baselines take from the training split: the nearest context, the most typical text, the mean image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..data.features import Features
from ..data.prepared import Prepared, Windows
from ..model.spaces import Spaces, Vectors

MOST = 4000
"""Training windows that are looked at, evenly chosen from all: their vectors take a few hundred megabytes."""
CHUNK = 256


@dataclass(frozen=True)
class Training:
    """Training windows in the run's spaces."""

    prepared: Prepared
    windows: Windows
    visual: Vectors
    """Of each frame, (T, K + 1, d)."""
    text: Vectors

    @property
    def visual_mean(self) -> Vectors:
        """(d,)."""
        return _mean(self.visual)

    @property
    def text_mean(self) -> Vectors:
        """(d,)."""
        return _mean(self.text)

    def nearest(self, visual: Vectors, text: Vectors) -> NDArray[np.int64]:
        """Return of each context, by its frames' vectors (W, K, d), the training window with the nearest context.

        A context is the mean of its frames' vectors, less the training mean: of images and of texts, at even weight.
        """
        ours, theirs = self._contexts(visual, text), self._contexts(self.visual, self.text)
        parts = [(ours[start : start + CHUNK] @ theirs.T).argmax(axis=1) for start in range(0, len(ours), CHUNK)]
        return np.concatenate(parts).astype(np.int64)

    def typical_text(self) -> int:
        """Return the row of the target's text that is nearest to the mean of all targets' texts."""
        targets = unit(self.text[:, -1])
        at = int((targets @ targets.mean(axis=0)).argmax())
        return int(self.windows.text_rows[at, -1])

    def mean_image(self) -> NDArray[np.uint8]:
        """Return the mean of the targets' pictures, (H, W, 3)."""
        rows = self.windows.image_rows[:, -1]
        size = self.prepared.image_size
        total = np.zeros((size, size, 3))
        for start in range(0, len(rows), CHUNK):
            total += self.prepared.frames.images.gather(rows[start : start + CHUNK]).sum(axis=0, dtype=np.float64)
        mean: NDArray[np.uint8] = (total / len(rows)).round().astype(np.uint8)
        return mean

    def _contexts(self, visual: Vectors, text: Vectors) -> Vectors:
        halves = [
            unit(vectors[:, :-1].mean(axis=1) - mean)
            for vectors, mean in ((visual, self.visual_mean), (text, self.text_mean))
        ]
        return np.concatenate(halves, axis=1)


def look_at_training(prepared: Prepared, windows: Windows, features: Features, spaces: Spaces) -> Training:
    """Place training windows in the run's spaces."""
    if len(windows) > MOST:
        windows = windows.take(np.linspace(0, len(windows) - 1, MOST).round().astype(np.int64))
    return Training(
        prepared=prepared,
        windows=windows,
        visual=spaces.images(prepared.frames.images, windows.image_rows, kept=features.visual),
        text=spaces.texts(features.tokens, windows.text_rows, kept=features.text),
    )


def unit(vectors: Vectors) -> Vectors:
    """Bring vectors (..., d) to length 1; a zero stays one."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: Vectors = vectors / np.maximum(length, np.finfo(np.float32).tiny)
    return scaled


def _mean(vectors: Vectors) -> Vectors:
    mean: Vectors = vectors.reshape(-1, vectors.shape[-1]).mean(axis=0)
    return mean
