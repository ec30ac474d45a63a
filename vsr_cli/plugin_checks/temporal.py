"""What a temporal model promises beside its shapes: a reading of stories that are too short."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from .harness import SIZES, Bench
from .outcomes import Check, demand

TOLERANCE = 1e-5
"""Of a state, whose numbers are about 1: masked frames may change the order in which sums are rounded."""


def checks(bench: Bench) -> Iterator[Check]:
    """Yield the checks of a temporal model."""
    yield "reads stories that are filled up with repeats", lambda: reads_short_stories(bench)
    yield "heeds its mask: what stands there in place of a frame changes nothing", lambda: heeds_mask(bench)


@torch.no_grad()
def reads_short_stories(bench: Bench) -> str | None:
    """Read stories of one real frame up to K, whose states must be numbers."""
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


@torch.no_grad()
def heeds_mask(bench: Bench) -> str | None:
    """Read stories of one real frame up to K twice, with other frames at the masked positions the second time."""
    size = SIZES[0]
    temporal = bench.build().eval().temporal
    real = torch.arange(size.steps)[None] <= torch.arange(size.steps)[:, None]  # (K, K): one frame, two, ... K
    frames, others = torch.randn(2, size.steps, size.steps, size.width)
    steps, summary = temporal(frames, real)
    changed_steps, changed_summary = temporal(torch.where(real[..., None], frames, others), real)
    moved = float((summary - changed_summary).abs().max())
    demand(moved <= TOLERANCE, f"frames whose mask is False change the summary, by up to {moved:.2g}")
    moved = float((steps - changed_steps)[real].abs().max())
    demand(moved <= TOLERANCE, f"frames whose mask is False change the states after real frames, by up to {moved:.2g}")
    return None
