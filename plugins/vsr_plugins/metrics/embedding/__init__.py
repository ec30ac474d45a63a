"""Scores in the run's own visual and text spaces: how near the target is, and how it ranks among all targets."""

from __future__ import annotations

from vsr_cli.api import Component, hookimpl

PLACE = "vsr_plugins.metrics.embedding.compare"


@hookimpl
def vsr_metrics() -> list[Component]:
    """Return the metrics of the run's spaces."""
    return [
        Component(
            name="similarity",
            summary="cosine of the predicted and the true image in the run's visual space",
            build=f"{PLACE}:build_similarity",
        ),
        Component(
            name="similarity-text",
            summary="cosine of the predicted and the true text in the run's text space",
            build=f"{PLACE}:build_text_similarity",
        ),
        Component(
            name="rank",
            summary="how the true image ranks among the split's targets: MRR, R@1, R@5, beside chance",
            build=f"{PLACE}:build_rank",
        ),
        Component(
            name="rank-text",
            summary="how the true text ranks among the split's targets: MRR, R@1, R@5, beside chance",
            build=f"{PLACE}:build_text_rank",
        ),
    ]
