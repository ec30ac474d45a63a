"""What a temporal model promises beside its shapes: a reading of stories that are too short."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from .bench import SIZES, Bench
from .outcomes import Check, demand


def checks(bench: Bench) -> Iterator[Check]:
    """Yield the checks of a temporal model."""
    yield "reads stories that are filled up with repeats", lambda: reads_short_stories(bench)


@torch.no_grad()
def reads_short_stories(bench: Bench) -> str | None:
    """Read stories of one real frame up to K. Repeats may be read or ignored, so only numbers are asked for."""
    size = SIZES[0]
    temporal = bench.build().temporal
    real = torch.arange(size.steps)[None] <= torch.arange(size.steps)[:, None]  # (K, K): one frame, two, … K
    frames = torch.randn(size.steps, size.steps, size.width)
    places = torch.arange(size.steps).expand(size.steps, -1).minimum(torch.arange(size.steps)[:, None])
    repeated = frames.take_along_dim(places[..., None], dim=1)  # (K, K, D)
    steps, summary = temporal(repeated, real)
    demand(bool(steps.isfinite().all()), "a short story's steps are no numbers")
    demand(bool(summary.isfinite().all()), "a short story's summary is no number")
    return None
