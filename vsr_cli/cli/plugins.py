"""`vsr plugins`: what is installed, and what each component takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic_core import PydanticUndefined
from rich.text import Text

from ..console import out as console
from ..console import print_json, say, styled
from ..plugin.kinds import KIND_OF, KINDS, Kind, kind_of_word
from ..plugin.registry import Provided, Registry
from ..report.tables import Column, fitting_table
from .arguments import Assignments, Component, Json, KindOf, as_path, as_source, complete_kind
from .parsing import examples
from .settings import registry

FAILED = 1
KIND_WORDS = [kind.word for kind in KINDS]

plugins_app = typer.Typer(no_args_is_help=True, help="What is installed, and what each component takes.")


@plugins_app.command(
    "list", epilog=examples("vsr plugins list", "vsr plugins list text-decoder", "vsr plugins list metrics --json")
)
def plugins_list(
    kind: Annotated[
        str | None,
        typer.Argument(help="One of " + ", ".join(KIND_WORDS) + "; all without it.", autocompletion=complete_kind),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the installed components by kind."""
    found, kinds = registry(), [kind_of_word(kind)] if kind else KINDS
    if as_json:
        print_json(list_record(found, kinds))
    else:
        show_list(found, kinds)


@plugins_app.command("show", epilog=examples("vsr plugins show gru", "vsr plugins show resnet50 --json"))
def plugins_show(name: Component, as_json: Json = False) -> None:
    """Show what a component is for, and its options with their types and defaults."""
    entries = registry().find_all(name)
    if as_json:
        print_json([show_record(entry) for entry in entries])
        return
    for entry in entries:
        show_component(entry)


@plugins_app.command(
    "check",
    epilog=examples(
        "vsr plugins check lstm",
        "vsr plugins check gru --kind text-decoder --set text_decoder.layers=2",
        "vsr plugins check resnet50 --set visual.weights=random --json",
        "vsr plugins check folder --source my_stories/",
    ),
)
def plugins_check(
    name: Component,
    kind: KindOf = None,
    assignments: Assignments = None,
    source: Annotated[
        str | None, typer.Option("--source", parser=as_source, metavar="PLACE", help="What a dataset is to read.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Build a component at tiny size and check what its kind promises. The exit code is 1 where it breaks a promise."""
    from .plugins_check import run_checks

    found = registry()
    entries = found.find_all(name, kind=kind_of_word(kind) if kind else None)
    if not run_checks(found, entries, assignments=assignments or [], source=source, as_json=as_json):
        raise typer.Exit(FAILED)


@plugins_app.command(
    "new",
    epilog=examples("vsr plugins new temporal-model slow-memory", "vsr plugins new metric length-ratio --out work/"),
)
def plugins_new(
    kind: Annotated[str, typer.Argument(help="One of " + ", ".join(KIND_WORDS) + ".", autocompletion=complete_kind)],
    name: Annotated[str, typer.Argument(help="What the component is to be called, e.g. slow-memory.")],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", parser=as_path, help="Where the package's folder is made.")
    ] = Path(),
) -> None:
    """Write a package with a component that works, a test and a README: yours to change."""
    from .plugins_new import write_package

    made = kind_of_word(kind)
    folder = write_package(made, name, out)
    say(f"{folder}: the {made.title} {name}, which works as it is; its README.md says how to go on")


def list_record(found: Registry, kinds: Sequence[Kind]) -> dict[str, Any]:
    """Return what is installed of some kinds, for machines."""
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
            for entry in found.provided
            if entry.section in sections
        ],
        "broken": [
            {"plugin": broken.plugin, "distribution": broken.distribution, "reason": broken.reason}
            for broken in found.broken
        ],
        "disabled": list(found.disabled),
    }


def show_list(found: Registry, kinds: Sequence[Kind]) -> None:
    """Print the components of some kinds."""
    for kind in kinds:
        entries = sorted(
            (entry for entry in found.provided if entry.section == kind.section),
            key=lambda entry: entry.component.name,
        )
        console.print(styled("[bold]{}[/bold]  ({})", kind.title, kind.flag), soft_wrap=True)
        columns = [
            Column("name", [Text(entry.component.name, "bold") for entry in entries], justify="left"),
            Column("what it is", [entry.component.summary for entry in entries], justify="left", wraps=30),
            Column("from", [Text(entry.distribution, "dim") for entry in entries], rank=1, justify="left"),
        ]
        console.print(fitting_table(columns, width=console.width))
        console.print()
    if found.disabled:
        console.print(f"kept out by VSR_DISABLE_PLUGINS: {', '.join(found.disabled)}")


def show_record(entry: Provided) -> dict[str, Any]:
    """Return one component and its options, for machines."""
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
    console.print(styled("[bold]{}[/bold], a {}: {}", entry.component.name, kind.title, entry.component.summary))
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
        Column("option", [option_place(entry, name) for name in fields], justify="left"),
        Column("type", [type_name(field.annotation) for field in fields.values()], justify="left"),
        Column("default", defaults, justify="left"),
        Column("what it does", [field.description or "" for field in fields.values()], justify="left", wraps=30),
    ]
    console.print(fitting_table(columns, width=console.width))
    console.print()


def option_place(entry: Provided, option: str) -> str:
    """Return an option's place, as `--set` takes it."""
    section = entry.section if entry.section != "metrics" else f"metrics.{entry.component.name}"
    return f"{section}.{option}"


def plain(value: Any) -> str:
    """Say a default as a configuration file does."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def type_name(annotation: Any) -> str:
    """Say a type in the words of a configuration file."""
    if annotation is None or annotation is type(None):
        return "null"
    if get_origin(annotation) is Literal:
        return " | ".join(str(value) for value in get_args(annotation))
    if get_origin(annotation) in (Union, UnionType):
        return " | ".join(type_name(argument) for argument in get_args(annotation))
    names = {"str": "text", "int": "integer", "float": "number", "bool": "true | false", "Path": "path"}
    name = getattr(annotation, "__name__", str(annotation))
    return names.get(name, name)
