"""One vector an image or text, in a space of the model's own."""

from __future__ import annotations

from torch import Tensor

from ..api import TextEncoder, VisualEncoder


def image_vectors(encoder: VisualEncoder, features: Tensor) -> Tensor:
    """Return the vectors (N, d) of images from what the encoder's frozen half gave (N, *F): the mean over places.

    Where nothing is frozen, the vector is the embedding.
    """
    if encoder.cache_key is None:
        return encoder(features)
    if features.ndim == 4:  # (N, C, h, w)
        return features.mean((2, 3))
    return features.mean(1) if features.ndim == 3 else features  # (N, patches, d) or (N, d)


def text_vectors(encoder: TextEncoder, features: Tensor, mask: Tensor) -> Tensor:
    """Return the vectors (N, d) of texts likewise, the mean over the real tokens, from features and the mask (N, L)."""
    if encoder.cache_key is None:
        return encoder(features, mask)
    if features.ndim < 3:
        return features  # (N, d)
    real = mask[..., None]  # (N, L, 1)
    return (features * real).sum(1) / real.sum(1).clamp(min=1)  # (N, L, d) -> (N, d)
