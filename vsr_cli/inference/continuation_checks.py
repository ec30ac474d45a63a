"""Checks of the options of a continuation, which need no model."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import VsrError

STEPS = 100
MOST = 400
"""Predictions of one continuation: all of them are drawn in one image."""


def check_steps(steps: int) -> None:
    """Raise VsrError if it is no number of steps."""
    if not isinstance(steps, int) or not 1 <= steps <= STEPS:
        raise VsrError(f"steps: not a number from 1 to {STEPS} (got {steps!r})")


def check_size(*, steps: int, alternatives: int) -> None:
    """Raise VsrError if a continuation would have more predictions than fit in an image."""
    if steps * alternatives > MOST:
        raise VsrError(
            f"--steps {steps} --alternatives {alternatives}: {steps * alternatives} predictions; at most {MOST} are "
            "made together; choose fewer of either, and continue the result again"
        )


def picks_of(picks: Sequence[int], *, steps: int, alternatives: int) -> list[int]:
    """Return which alternative each step goes on with: the last of `picks` holds for all further steps.

    Raises VsrError if there are more than steps, or if one is no alternative.
    """
    if not picks:
        raise VsrError("--pick: no number; leave it out, or pick one")
    if len(picks) > steps:
        raise VsrError(f"--pick: {len(picks)} numbers for {steps} {'step' if steps == 1 else 'steps'}; leave some out")
    for pick in picks:
        if not isinstance(pick, int) or not 1 <= pick <= alternatives:
            which = f"one from 1 to {alternatives}" if alternatives > 1 else "1, or add --alternatives N"
            raise VsrError(f"--pick {pick}: there is no such alternative; pick {which}")
    return [*picks, *[picks[-1]] * (steps - len(picks))]
