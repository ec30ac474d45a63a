"""Search for the component whose output is not finite."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

from ..api import Narrative
from ..api.finite import first_not_finite


def narrated_not_finite(narrative: Narrative) -> str | None:
    """Return the section of the first component whose output in a narrative is not finite, None if all are."""
    encoded = (("visual", narrative.visual), ("text", narrative.text))
    return first_not_finite((*encoded, ("temporal", narrative.steps), ("temporal", narrative.summary)))


def traced_not_finite(trace: Iterable[Mapping[str, Tensor]]) -> str | None:
    """Return the section of the first component whose output in `StoryModel.trace` is not finite, None if all are."""
    return next(filter(None, (first_not_finite(outputs.items()) for outputs in trace)), None)
