"""Check one component: its promises, by kind, each with the function that checks it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..errors import VsrError
from ..plugin.kinds import MODEL_COMPONENTS
from ..plugin.registry import Provided, Registry
from . import components, datasets, encoders, image_decoders, metrics, temporal, text_decoders
from .harness import Harness, make_harness
from .outcomes import Check, Outcome, outcome_of

BUILT = "is built"
OWN_CHECKS: dict[str, tuple[Check[Harness], ...]] = {
    "visual": encoders.CHECKS,
    "text": (*encoders.TEXT_CHECKS, *encoders.CHECKS),
    "fusion": (),
    "temporal": temporal.CHECKS,
    "text_decoder": text_decoders.CHECKS,
    "image_decoder": image_decoders.CHECKS,
}
"""Checks of one kind of model component, beside those of all."""


def check(
    registry: Registry, entry: Provided, *, assignments: Sequence[str] = (), source: str | None = None
) -> Iterator[Outcome]:
    """Yield the outcome of each check of a component; none follows if it cannot be built.

    `assignments` are `section.key=value`; `source` is what a dataset reads. Raises VsrError with all errors in them.
    """
    section, name = entry.section, entry.component.name
    registry.find(section, name)  # raises if another plugin provides it, too
    if source is not None and section != "dataset":
        raise VsrError(f"--source {source}: {name} is not a dataset; leave it out")
    subject, checks = _checks(registry, section, name, assignments=assignments, source=source)
    for each in checks:
        outcome = outcome_of(each, subject)
        yield outcome
        if each[0] == BUILT and not outcome.passed:
            return


def _checks(
    registry: Registry, section: str, name: str, *, assignments: Sequence[str], source: str | None
) -> tuple[Any, tuple[Check[Any], ...]]:
    """Return the subject and its checks, the first of which builds it."""
    if section in MODEL_COMPONENTS:
        harness = make_harness(registry, section, name, assignments)
        return harness, ((BUILT, _is_built), *components.CHECKS, *OWN_CHECKS[section])
    if section == "dataset":
        dataset = datasets.DatasetUnderTest(datasets.choose(registry, name, assignments), source)
        return dataset, ((BUILT, datasets.is_built), *datasets.CHECKS)
    return metrics.choose(registry, name, assignments), ((BUILT, metrics.is_built), *metrics.CHECKS)


def _is_built(harness: Harness) -> str:
    return type(harness.component(harness.build())).__qualname__
