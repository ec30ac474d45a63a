"""`vsr plugins list`: list the installed components."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from ...console import out as console
from ...console import print_json, styled
from ...plugin.kinds import KINDS, Kind, kind_of_word
from ...report.tables import Column, fitting_table
from ...workflows.settings import load_registry
from ..arguments import Json, complete_kind
from ..parsing.commands import examples

if TYPE_CHECKING:
    from ...plugin.registry import Registry


@examples("vsr plugins list", "vsr plugins list text-decoder", "vsr plugins list metrics --json")
def plugins_list(
    kind: Annotated[
        str | None,
        typer.Argument(
            help="One of " + ", ".join(kind.word for kind in KINDS) + ". Default: all.", autocompletion=complete_kind
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the installed components by kind."""
    registry, kinds = load_registry(), [kind_of_word(kind)] if kind else KINDS
    if as_json:
        print_json(list_record(registry, kinds))
    else:
        show_list(registry, kinds)


def list_record(registry: Registry, kinds: Sequence[Kind]) -> dict[str, Any]:
    """Return the components of some kinds, for JSON."""
    sections = {kind.section for kind in kinds}
    return {
        "components": [
            {
                "kind": entry.section,
                "name": entry.component.name,
                "summary": entry.component.summary,
                "plugin": entry.plugin,
                "distribution": entry.distribution,
            }
            for entry in registry.provided
            if entry.section in sections
        ],
        "broken": [
            {"plugin": broken.plugin, "distribution": broken.distribution, "reason": broken.reason}
            for broken in registry.broken
        ],
        "disabled": list(registry.disabled),
    }


def show_list(registry: Registry, kinds: Sequence[Kind]) -> None:
    """Print the components of some kinds."""
    for kind in kinds:
        entries = sorted(
            (entry for entry in registry.provided if entry.section == kind.section),
            key=lambda entry: entry.component.name,
        )
        console.print(styled("[bold]{}[/bold]  ({})", kind.title, kind.flag), soft_wrap=True)
        columns = [
            Column("name", [Text(entry.component.name, "bold") for entry in entries], justify="left"),
            Column("description", [entry.component.summary for entry in entries], justify="left", wraps=30),
            Column("from", [Text(entry.distribution, "dim") for entry in entries], rank=1, justify="left"),
        ]
        console.print(fitting_table(columns, width=console.width))
        console.print()
    if registry.disabled:
        console.print(f"disabled by VSR_DISABLE_PLUGINS: {', '.join(registry.disabled)}")
