"""The embedding spaces of a run: one vector per image or text, from the encoders' frozen halves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..api import TextEncoder, TokenBatch, VisualEncoder, mean_over_positions
from ..data.cache.encoding import BATCH, image_tensor, text_rows, to_array
from ..data.scratch import roomy_array, taken
from ..data.shards import Rows

if TYPE_CHECKING:
    from .story_model import StoryModel  # which imports the loss terms, and one of them imports this module

Vectors = NDArray[np.float32]


def image_vectors(encoder: VisualEncoder, features: Tensor) -> Tensor:
    """Return the vectors (N, d) of images from frozen features (N, *F): the mean over positions.

    Without a frozen half, the vector is the trained embedding.
    """
    return encoder(features) if encoder.cache_key is None else mean_over_positions(features)


def text_vectors(encoder: TextEncoder, features: Tensor, mask: Tensor) -> Tensor:
    """Return the vectors (N, d) of texts likewise, the mean over the real tokens, from features and the mask (N, L)."""
    if encoder.cache_key is None:
        return encoder(features, mask)
    if features.ndim < 3:
        return features  # (N, d)
    real = mask[..., None]  # (N, L, 1)
    return (features * real).sum(1) / real.sum(1).clamp(min=1)  # (N, L, d) -> (N, d)


class EmbeddingSpaces:
    """Embeds images and texts in the spaces of a model.

    The vector is the mean of an encoder's frozen features over positions or tokens; without a frozen half it is the
    trained embedding.
    """

    def __init__(self, model: StoryModel, device: torch.device) -> None:
        self._model = model
        self._device = device

    @property
    def signature(self) -> dict[str, str]:
        """The kind of each space: frozen features or trained embedding."""
        encoders: dict[str, VisualEncoder | TextEncoder] = {"visual": self._model.visual, "text": self._model.text}
        return {
            name: "trained-embedding" if encoder.cache_key is None else "frozen-features"
            for name, encoder in encoders.items()
        }

    def images(self, images: Rows, rows: NDArray[np.int64], *, features: Rows | None = None) -> Vectors:
        """Return the vectors (*rows.shape, d) of rows of images, from cached features if there are any."""
        visual = self._model.visual

        def compute(part: NDArray[np.int64]) -> Tensor:
            if features is not None:
                frozen = torch.from_numpy(features.gather(part)).to(self._device).float()
            else:
                frozen = visual.frozen(visual.pixels(image_tensor(images.gather(part), self._device)))
            return image_vectors(visual, frozen)

        return _by_row(rows, compute)

    def texts(self, tokens: TokenBatch, rows: NDArray[np.int64], *, features: Rows | None = None) -> Vectors:
        """Return the vectors (*rows.shape, d) of rows of texts that the text encoder has tokenized, likewise."""
        encoder = self._model.text
        from_tokens = text_rows(tokens, encoder, self._device)

        def compute(part: NDArray[np.int64]) -> Tensor:
            if features is not None:
                frozen = torch.from_numpy(features.gather(part)).to(self._device).float()
            else:
                frozen = from_tokens(part)
            mask = torch.from_numpy(tokens.mask[part]).to(self._device)  # (n, L)
            return text_vectors(encoder, frozen, mask)

        return _by_row(rows, compute)

    def written(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors (n, d) of texts that are not part of the data; equal texts are embedded once."""
        number = {text: at for at, text in enumerate(dict.fromkeys(texts))}
        tokens = self._model.text.tokenize(list(number))
        return self.texts(tokens, np.array([number[text] for text in texts], dtype=np.int64))


@torch.no_grad()
def _by_row(rows: NDArray[np.int64], compute: Callable[[NDArray[np.int64]], Tensor]) -> Vectors:
    """Compute each distinct row once, in batches."""
    distinct, back = np.unique(rows, return_inverse=True)
    found: Vectors | None = None
    for start in range(0, len(distinct), BATCH):
        part = to_array(compute(distinct[start : start + BATCH]))
        if found is None:
            found = roomy_array((len(distinct), *part.shape[1:]), np.float32)
        found[start : start + len(part)] = part
    assert found is not None, "no row is embedded"
    return taken(found, back.reshape(rows.shape))
