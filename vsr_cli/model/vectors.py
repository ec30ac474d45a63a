"""One vector per image or text, in the spaces of the model's encoders."""

from __future__ import annotations

from torch import Tensor

from ..api import TextEncoder, VisualEncoder


def image_vectors(encoder: VisualEncoder, features: Tensor) -> Tensor:
    """Return the vectors (N, d) of images from frozen features (N, *F): the mean over positions.

    Without a frozen half, the vector is the trained embedding.
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
