"""Whether a difference between scores is significant: the one vocabulary of every table, page, chart and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

Verdict = Literal["significantly better", "significantly worse", "not significant"]
BETTER: Verdict = "significantly better"
WORSE: Verdict = "significantly worse"
NOT_SIGNIFICANT: Verdict = "not significant"

LEAST_STORIES = 6
"""With fewer there are no intervals and no verdicts: even a sign that all five share has a chance of 2/2^5 > 5 %."""
FEW_STORIES = 30
"""Below this, percentile intervals are too narrow and only large differences are significant."""
HELD_OUT_ONCE = "'vsr evaluate --folds 5' holds every story out once"
MORE_STORIES = "prepare more stories"
"""What helps where every story is held out once already."""


def verdict(lead: Sequence[float] | None) -> Verdict | None:
    """Return what the 95 % interval of a lead means; None, no verdict, where there is no interval.

    A lead is how much better the model is than what it is compared with, whatever the direction of the metric.
    """
    if lead is None:
        return None
    low, high = lead
    return BETTER if low > 0 else WORSE if high < 0 else NOT_SIGNIFICANT


def few_stories(stories: int, *, remedy: str = HELD_OUT_ONCE) -> str | None:
    """Return the caution that so few stories were scored, with its consequence; None where there are enough."""
    counted = f"only {stories} {'story was' if stories == 1 else 'stories were'} scored"
    if stories < LEAST_STORIES:
        return f"{counted}, too few for intervals and verdicts (at least {LEAST_STORIES}); {remedy}"
    if stories < FEW_STORIES:
        return (
            f"{counted}, so that intervals are rough and only large differences are significant "
            f"(at least {FEW_STORIES} are advised); {remedy}"
        )
    return None
