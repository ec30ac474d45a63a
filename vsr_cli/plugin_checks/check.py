"""Checking one component: the one door into this room."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ..errors import VsrError
from ..plugin.kinds import MODEL_COMPONENTS
from ..plugin.registry import Provided, Registry
from . import datasets, decoders, encoders, metrics, parts
from . import temporal as readers
from .harness import Bench, open_bench
from .outcomes import Check, Outcome, outcome_of

BUILT = "is built"
OWN_CHECKS: dict[str, tuple[Callable[[Bench], Iterator[Check]], ...]] = {
    "visual": (encoders.checks,),
    "text": (encoders.checks,),
    "fusion": (),
    "temporal": (readers.checks,),
    "text_decoder": (decoders.text_checks,),
    "image_decoder": (decoders.image_checks,),
}
"""What a part promises beyond what all parts do."""


def check(
    registry: Registry, entry: Provided, *, assignments: Sequence[str] = (), source: str | None = None
) -> Iterator[Outcome]:
    """Yield the outcome of each check of a component as it is done; none follows if it cannot be built.

    `assignments` are `section.key=value`; `source` is what a dataset reads. Raises VsrError with all mistakes in them.
    """
    section, name = entry.section, entry.component.name
    registry.find(section, name)  # raises if another plugin provides it, too
    if source is not None and section != "dataset":
        raise VsrError(f"--source {source}: only a dataset reads one, which {name} is not; leave it out")
    for found in _checks(registry, section, name, assignments=assignments, source=source):
        outcome = outcome_of(found)
        yield outcome
        if found[0] == BUILT and not outcome.passed:
            return


def _checks(
    registry: Registry, section: str, name: str, *, assignments: Sequence[str], source: str | None
) -> Iterator[Check]:
    if section in MODEL_COMPONENTS:
        bench = open_bench(registry, section, name, assignments)
        yield BUILT, lambda: type(bench.part(bench.build())).__qualname__
        for kind in (parts.checks, *OWN_CHECKS[section]):
            yield from kind(bench)
    elif section == "dataset":
        choice = datasets.choose(registry, name, assignments)
        yield BUILT, lambda: datasets.build_it(choice)
        yield from datasets.checks(choice, source)
    else:
        choice = metrics.choose(registry, name, assignments)
        yield BUILT, lambda: metrics.build_it(choice)
        yield from metrics.checks(choice)
