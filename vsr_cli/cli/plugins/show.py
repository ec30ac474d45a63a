"""`vsr plugins show`: show a component and its options."""

from __future__ import annotations

from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from ...console import out as console
from ...console import print_json, styled
from ...plugin.kinds import KIND_OF
from ...report.tables import Column, fitting_table
from ...workflows.settings import load_registry
from ..arguments import ComponentName, Json
from ..parsing.commands import examples

if TYPE_CHECKING:
    from ...plugin.registry import Provided


@examples("vsr plugins show gru", "vsr plugins show resnet50 --json")
def plugins_show(name: ComponentName, as_json: Json = False) -> None:
    """Show a component and its options, with their types and defaults."""
    entries = load_registry().find_all(name)
    if as_json:
        print_json([show_record(entry) for entry in entries])
        return
    for entry in entries:
        show_component(entry)


def show_record(entry: Provided) -> dict[str, Any]:
    """Return one component and its options, for JSON."""
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
    from pydantic_core import PydanticUndefined

    kind = KIND_OF[entry.section]
    console.print(styled("[bold]{}[/bold], {}: {}", entry.component.name, kind.title, entry.component.summary))
    console.print(
        f"from {entry.distribution}, plugin {entry.plugin}; choose it with {kind.flag} {entry.component.name}"
    )
    fields = entry.component.options.model_fields
    if not fields:
        console.print("It has no options.")
        console.print()
        return
    defaults = [
        "(required)" if field.default is PydanticUndefined else plain(field.default) for field in fields.values()
    ]
    columns = [
        Column("option", list(fields), justify="left"),
        Column("type", [type_name(field.annotation) for field in fields.values()], justify="left"),
        Column("default", defaults, justify="left"),
        Column("description", [field.description or "" for field in fields.values()], justify="left", wraps=30),
    ]
    console.print(fitting_table(columns, width=console.width))
    console.print(f"set one by --set {option_place(entry, next(iter(fields)))}=...")
    console.print()


def option_place(entry: Provided, option: str) -> str:
    """Return the path of an option, as `--set` takes it."""
    section = entry.section if entry.section != "metrics" else f"metrics.{entry.component.name}"
    return f"{section}.{option}"


def plain(value: Any) -> str:
    """Return a default as a configuration file writes it."""
    if isinstance(value, tuple):
        return ",".join(map(plain, value))
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def type_name(annotation: Any) -> str:
    """Return a type in the words of a configuration file."""
    if annotation is None or annotation is type(None):
        return "null"
    if get_origin(annotation) is Literal:
        return " | ".join(str(value) for value in get_args(annotation))
    if get_origin(annotation) is Annotated:
        return type_name(get_args(annotation)[0])
    if get_origin(annotation) is tuple:
        return f"{type_name(get_args(annotation)[0])}, ..."
    if get_origin(annotation) in (Union, UnionType):
        return " | ".join(type_name(argument) for argument in get_args(annotation))
    names = {"str": "text", "int": "integer", "float": "number", "bool": "true | false", "Path": "path"}
    name = getattr(annotation, "__name__", str(annotation))
    return names.get(name, name)
