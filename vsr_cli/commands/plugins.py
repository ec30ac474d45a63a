"""`vsr plugins`: what is installed, and what each component takes."""

from __future__ import annotations

from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import typer
from pydantic_core import PydanticUndefined
from rich.markup import escape
from rich.table import Table

from ..console import out as console
from ..console import print_json
from ..plugin.kinds import KIND_OF, KINDS
from ..plugin.registry import Provided, Registry
from .options import Component, Json
from .settings import registry
from .words import examples

plugins_app = typer.Typer(no_args_is_help=True, help="What is installed, and what each component takes.")


@plugins_app.command("list", epilog=examples("vsr plugins list", "vsr plugins list --json"))
def plugins_list(as_json: Json = False) -> None:
    """List the installed components by kind."""
    found = registry()
    if as_json:
        print_json(list_record(found))
    else:
        show_list(found)


@plugins_app.command("show", epilog=examples("vsr plugins show gru", "vsr plugins show resnet50 --json"))
def plugins_show(name: Component, as_json: Json = False) -> None:
    """Show what a component is for, and its options with their types and defaults."""
    entries = registry().find_all(name)
    if as_json:
        print_json([show_record(entry) for entry in entries])
        return
    for entry in entries:
        show_component(entry)


def list_record(found: Registry) -> dict[str, Any]:
    """Give what is installed, for machines."""
    return {
        "components": [
            {
                "kind": entry.section,
                "name": entry.component.name,
                "summary": entry.component.summary,
                "plugin": entry.plugin,
                "distribution": entry.distribution,
            }
            for entry in found.provided
        ],
        "broken": [
            {"plugin": broken.plugin, "distribution": broken.distribution, "reason": broken.reason}
            for broken in found.broken
        ],
        "disabled": list(found.disabled),
    }


def show_list(found: Registry) -> None:
    """Print the components by kind."""
    for kind in KINDS:
        entries = sorted(
            (entry for entry in found.provided if entry.section == kind.section),
            key=lambda entry: entry.component.name,
        )
        table = Table(title=f"{kind.title}  ({kind.flag})", title_justify="left", box=None, padding=(0, 2, 0, 0))
        table.add_column("name", style="bold", no_wrap=True, min_width=14)
        table.add_column("what it is", ratio=1)
        table.add_column("from", style="dim", no_wrap=True)
        for entry in entries:
            table.add_row(entry.component.name, escape(entry.component.summary), entry.distribution)
        console.print(table)
        console.print()
    if found.disabled:
        console.print(f"kept out by VSR_DISABLE_PLUGINS: {', '.join(found.disabled)}")


def show_record(entry: Provided) -> dict[str, Any]:
    """Give one component and its options, for machines."""
    return {
        "kind": entry.section,
        "name": entry.component.name,
        "summary": entry.component.summary,
        "plugin": entry.plugin,
        "distribution": entry.distribution,
        "options": entry.component.options.model_json_schema().get("properties", {}),
    }


def show_component(entry: Provided) -> None:
    """Print one component and its options."""
    kind = KIND_OF[entry.section]
    console.print(f"[bold]{entry.component.name}[/bold], a {kind.title}: {escape(entry.component.summary)}")
    console.print(
        f"from {entry.distribution}, plugin {entry.plugin}; choose it with {kind.flag} {entry.component.name}"
    )
    fields = entry.component.options.model_fields
    if not fields:
        console.print("It has no options.\n")
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("option", "type", "default", "what it does"):
        table.add_column(column, overflow="fold")
    section = entry.section if entry.section != "metrics" else f"metrics.{entry.component.name}"
    for name, field in fields.items():
        default = "(required)" if field.default is PydanticUndefined else _plain(field.default)
        cells = (f"{section}.{name}", _type_name(field.annotation), default, field.description or "")
        table.add_row(*map(escape, cells))
    console.print(table)
    console.print()


def _plain(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _type_name(annotation: Any) -> str:
    """Say a type in the words of a configuration file."""
    if annotation is None or annotation is type(None):
        return "null"
    if get_origin(annotation) is Literal:
        return " | ".join(str(value) for value in get_args(annotation))
    if get_origin(annotation) in (Union, UnionType):
        return " | ".join(_type_name(argument) for argument in get_args(annotation))
    names = {"str": "text", "int": "integer", "float": "number", "bool": "true | false", "Path": "path"}
    name = getattr(annotation, "__name__", str(annotation))
    return names.get(name, name)
