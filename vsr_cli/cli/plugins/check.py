"""`vsr plugins check`: check that a component fulfils the contract of its kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ...console import out as console
from ...console import print_json, styled
from ...plugin.kinds import KIND_OF, kind_of_word
from ...workflows.settings import load_registry
from ..arguments import Assignments, ComponentName, Json, KindOf, as_source
from ..parsing.commands import examples

if TYPE_CHECKING:
    from ...plugin.registry import Provided, Registry

FAILED = 1


@examples(
    "vsr plugins check lstm",
    "vsr plugins check gru --kind text-decoder --set text_decoder.layers=2",
    "vsr plugins check resnet50 --set visual.weights=random --json",
    "vsr plugins check folder --source my_stories/",
)
def plugins_check(
    name: ComponentName,
    kind: KindOf = None,
    assignments: Assignments = None,
    source: Annotated[
        str | None,
        typer.Option("--source", parser=as_source, metavar="SOURCE", help="The stories that a dataset is checked on."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Build a component at a tiny size and check the contract of its kind. Exit code 1 if it is broken."""
    registry = load_registry()
    entries = registry.find_all(name, kind=kind_of_word(kind) if kind else None)
    if not run_checks(registry, entries, assignments=assignments or [], source=source, as_json=as_json):
        raise typer.Exit(FAILED)


def run_checks(
    registry: Registry, entries: Sequence[Provided], *, assignments: Sequence[str], source: str | None, as_json: bool
) -> bool:
    """Check components and report each check, when it is done or all as JSON; return whether all passed."""
    from ...plugin_checks.check import check

    records = []
    for entry in entries:
        if not as_json:
            title = KIND_OF[entry.section].title
            console.print(styled("{} [bold]{}[/bold], from {}", title, entry.component.name, entry.distribution))
        outcomes = []
        for outcome in check(registry, entry, assignments=assignments, source=source):
            outcomes.append(outcome)
            if not as_json:
                console.print(str(outcome), markup=False, soft_wrap=True, style=None if outcome.passed else "red")
        records.append(
            {
                "kind": entry.section,
                "name": entry.component.name,
                "passed": all(outcome.passed for outcome in outcomes),
                "checks": [vars(outcome) for outcome in outcomes],
            }
        )
    if as_json:
        print_json(records)
    return all(record["passed"] for record in records)
