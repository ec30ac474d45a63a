"""How a difference between two scores is said, in words and digits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

BETTER, WORSE, CANNOT_TELL = "better", "worse", "cannot tell"
STYLE_OF_WORD = {BETTER: "green", WORSE: "red", CANNOT_TELL: "dim"}
MARK_OF_DIRECTION = {"higher": "↑", "lower": "↓", "one": "→1"}


def verdict(lead: Sequence[float] | None) -> str:
    """Say what the 95 % interval of a lead means: how much better we are than they, whatever the metric's direction.

    An interval that holds 0 tells nothing, nor does one with an end that is no number; None: there is no interval.
    """
    if lead is None:
        return CANNOT_TELL
    low, high = lead
    return BETTER if low > 0 else WORSE if high < 0 else CANNOT_TELL


def verdict_on_floor(cell: Mapping[str, Any], floor: Mapping[str, Any]) -> str:
    """Say whether the model is better than a floor. `cell` is what result.json has of the metric, `floor` one in it."""
    if floor["beats"]:
        return BETTER
    if floor["ci95"] is None:
        return CANNOT_TELL
    low, high = floor["ci95"]
    if cell["better"] != "one":
        return verdict([low, high] if cell["better"] == "higher" else [-high, -low])
    # The difference does not say which of two is nearer to 1. Where the floor may be follows from it and the model's
    # interval: if all of that is nearer than all of the model's, the model is worse.
    least, greatest = cell["ci95"]
    nearest_model = 0.0 if least <= 1 <= greatest else min(abs(least - 1), abs(greatest - 1))
    farthest_floor = max(abs(least - high - 1), abs(greatest - low - 1))
    return WORSE if farthest_floor < nearest_model else CANNOT_TELL


def short(value: float | None) -> str:
    """Write a score with three digits that count."""
    if value is None:
        return "–"
    if abs(value) >= 999.5:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 1e-4 or value == 0 else f"{value:.1e}"
