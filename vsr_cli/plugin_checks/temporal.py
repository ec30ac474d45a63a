"""Checks of temporal models: short stories and the mask."""

from __future__ import annotations

import torch

from .harness import SIZES, Harness
from .outcomes import Check, require

TOLERANCE = 1e-5
"""Of a state, whose values are about 1, for rounding."""


@torch.no_grad()
def reads_short_stories(harness: Harness) -> str | None:
    """Read stories of 1 to K real frames; all states must be finite."""
    size = SIZES[0]
    temporal = harness.build().temporal
    real = torch.arange(size.steps)[None] <= torch.arange(size.steps)[:, None]  # (K, K): one frame, two, … K
    frames = torch.randn(size.steps, size.steps, size.width)
    places = torch.arange(size.steps).expand(size.steps, -1).minimum(torch.arange(size.steps)[:, None])
    repeated = frames.take_along_dim(places[..., None], dim=1)  # (K, K, D)
    steps, summary = temporal(repeated, real)
    require(bool(steps.isfinite().all()), "the steps of a short story are not finite")
    require(bool(summary.isfinite().all()), "the summary of a short story is not finite")
    return None


@torch.no_grad()
def ignores_masked_frames(harness: Harness) -> str | None:
    """Read stories of 1 to K real frames twice, with other frames at the masked positions."""
    size = SIZES[0]
    temporal = harness.build().eval().temporal
    real = torch.arange(size.steps)[None] <= torch.arange(size.steps)[:, None]  # (K, K): one frame, two, ... K
    frames, others = torch.randn(2, size.steps, size.steps, size.width)
    steps, summary = temporal(frames, real)
    changed_steps, changed_summary = temporal(torch.where(real[..., None], frames, others), real)
    moved = float((summary - changed_summary).abs().max())
    require(moved <= TOLERANCE, f"frames whose mask is False change the summary, by up to {moved:.2g}")
    moved = float((steps - changed_steps)[real].abs().max())
    require(moved <= TOLERANCE, f"frames whose mask is False change the states after real frames, by up to {moved:.2g}")
    return None


CHECKS: tuple[Check[Harness], ...] = (
    ("reads short stories", reads_short_stories),
    ("ignores masked frames", ignores_masked_frames),
)
