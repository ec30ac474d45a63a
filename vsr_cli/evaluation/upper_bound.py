"""Whether a metric can measure these references at all: what they score against themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..api import Metric, SpaceMetric

FAR = 0.1
"""Share of the highest score that the upper bound may lack before a warning says so."""


def upper_bound_caution(name: str, metric: Metric | SpaceMetric, cell: Mapping[str, Any]) -> str | None:
    """Return a warning if the upper bound of a metric is far from its highest score, `perfect`; None if it is not.

    None too for a metric that has no such score (how varied texts are), or where nothing was scored against itself.
    """
    perfect, bound = getattr(metric, "perfect", None), cell["upper_bound"]
    if perfect is None or bound is None or abs(perfect - bound) <= FAR * abs(perfect):
        return None
    return (
        f"{name}: the references score only {bound:.4g} of {perfect:g} against themselves, and no prediction can score "
        "more: they are very short, longer than the decoder can write, or in a script that its tokenizer does not "
        "split; compare scores with this upper bound"
    )
