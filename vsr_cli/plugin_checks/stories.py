"""A few small stories in memory, as the input of checks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

IMAGES = 4
"""Distinct images, shared by stories, so that a large encoder computes few."""
HEROES = ("Mara", "Ivo", "The dog", "Anna Lind")
DEEDS = ("opens", "carries", "cannot find", "paints", "drops", "sells", "hides")
THINGS = ("a red box", "the kite", "an old map", "two keys", "the lantern")
ENDINGS = (".", " by the sea.", ", and laughs!", " while it rains and rains.")


@dataclass(frozen=True, kw_only=True)
class SmallStories:
    """S stories of K + 1 frames. The last one is short: the last frame of its context is repeated."""

    images: Tensor
    """(P, 3, H, W) uint8."""
    rows: Tensor
    """Index of the image of each frame, (S, K + 1) int64."""
    texts: list[list[str]]
    """S lists of K + 1 texts."""
    mask: Tensor
    """False where a frame of the context is repeated, (S, K) bool."""


def make_stories(count: int, *, steps: int, image_size: int) -> SmallStories:
    """Return stories of K = `steps` context frames and a target, always the same."""
    random = torch.Generator().manual_seed(0)
    coarse = torch.rand(IMAGES, 3, 4, 4, generator=random) * 255
    images = functional.interpolate(coarse, (image_size, image_size), mode="bilinear").byte()  # (P, 3, H, W)
    rows = (3 * torch.arange(count)[:, None] + torch.arange(steps + 1)) % IMAGES  # (S, K + 1)
    texts = [[_sentence(5 * story + frame) for frame in range(steps + 1)] for story in range(count)]
    mask = torch.ones(count, steps, dtype=torch.bool)
    if count > 1 and steps > 1:
        mask[-1, -1] = False
        rows[-1, steps - 1] = rows[-1, steps - 2]
        texts[-1][steps - 1] = texts[-1][steps - 2]
    return SmallStories(images=images, rows=rows, texts=texts, mask=mask)


def _sentence(number: int) -> str:
    parts = (choices[number % len(choices)] for choices in (HEROES, DEEDS, THINGS))
    return " ".join(parts) + ENDINGS[number // 2 % len(ENDINGS)]
