"""`vsr plugins check`: what a component promises, looked for one by one."""

from __future__ import annotations

from collections.abc import Sequence

from ..console import out as console
from ..console import print_json, styled
from ..plugin.kinds import KIND_OF
from ..plugin.registry import Provided, Registry


def run_checks(
    found: Registry, entries: Sequence[Provided], *, assignments: Sequence[str], source: str | None, as_json: bool
) -> bool:
    """Check components and tell of each check, as it is done or all as JSON. Say whether every promise is kept."""
    from ..plugin_checks.check import check

    records = []
    for entry in entries:
        if not as_json:
            title = KIND_OF[entry.section].title
            console.print(styled("{} [bold]{}[/bold], from {}", title, entry.component.name, entry.distribution))
        outcomes = []
        for outcome in check(found, entry, assignments=assignments, source=source):
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
