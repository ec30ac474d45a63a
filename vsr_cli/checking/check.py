"""Checking one component: the one door into this room."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ..errors import VsrError
from ..plugin.kinds import KIND_OF, MODEL_PARTS
from ..plugin.registry import Provided, Registry
from . import datasets, decoders, encoders, metrics, parts, readers
from .bench import Bench, open_bench
from .outcomes import Outcome, outcome_of

Check = tuple[str, Callable[[], str | None]]
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
        raise VsrError(f"--source {source}: a {KIND_OF[section].title} reads none; leave it out")
    if section in MODEL_PARTS:
        bench = open_bench(registry, section, name, assignments)
        yield (built := outcome_of("is built", lambda: str(type(bench.part(bench.build())).__qualname__)))
        found = [found for kind in (parts.checks, *OWN_CHECKS[section]) for found in kind(bench)]
    elif section == "dataset":
        choice = datasets.choose(registry, name, assignments)
        yield (built := outcome_of("is built", lambda: datasets.build_it(choice)))
        found = list(datasets.checks(choice, source))
    else:
        choice = metrics.choose(registry, name, assignments)
        yield (built := outcome_of("is built", lambda: metrics.build_it(choice)))
        found = list(metrics.checks(choice))
    if built.passed:
        for title, look in found:
            yield outcome_of(title, look)
