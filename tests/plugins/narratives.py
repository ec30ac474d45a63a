"""Narratives of random numbers: what a model hands to a decoder."""

import torch
from torch import Tensor

from vsr_cli.api import Context, Narrative


def make_context(frames: Tensor, **given: object) -> Context:
    """Return a context whose image and text embeddings are `frames` (B, K, D); `given` replaces fields."""
    batch, steps, _ = frames.shape
    ids = torch.zeros(batch, steps, 5, dtype=torch.long)
    fields = {
        "visual": frames,
        "text": frames,
        "text_ids": ids,
        "text_mask": ids == 0,
        "mask": ids[..., 0] == 0,
        "last_image": torch.zeros(batch, 3, 8, 8),
        "story": torch.arange(batch),
        "text_row": ids[..., 0],
        "texts": [["A dog runs."] * steps] * batch,
        "images": lambda: torch.zeros(batch, steps, 3, 8, 8),
    }
    return Context(**fields | given)


def make_narrative(context: Context, **given: object) -> Narrative:
    """Return the narrative of a context whose states are its image embeddings; `given` replaces fields."""
    fields = {"steps": context.visual, "summary": context.visual[:, -1], "visual": context.visual, "text": context.text}
    return Narrative(context=context, **fields | given)


def random_narrative(batch: int, *, width: int = 16, image_size: int = 8) -> Narrative:
    """Return a narrative of four random frames per story."""
    numbers = torch.Generator().manual_seed(0)
    frames = torch.randn(batch, 4, width, generator=numbers)
    last_image = torch.rand(batch, 3, image_size, image_size, generator=numbers)
    return make_narrative(make_context(frames, last_image=last_image))
