"""`vsr plugins reference`: all components and their options on one page."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic_core import PydanticUndefined

from ..plugin.kinds import KINDS, Kind
from ..plugin.registry import Provided, Registry
from .plugins import option_place, plain, type_name

HEAD = """# Components and their options

Made by `vsr plugins reference` from what is installed; do not edit it. `vsr plugins show NAME` shows one of them.
"""


def reference_page(found: Registry) -> str:
    """Write the page in Markdown."""
    return "\n".join([HEAD, *(line for kind in KINDS for line in _section(kind, found))])


def _section(kind: Kind, found: Registry) -> Iterator[str]:
    yield f"## {kind.title[:1].upper()}{kind.title[1:]}: `{kind.flag}`\n"
    entries = [entry for entry in found.provided if entry.section == kind.section]
    for entry in sorted(entries, key=lambda entry: (entry.component.name, entry.plugin)):
        yield from _component(entry)


def _component(entry: Provided) -> Iterator[str]:
    component = entry.component
    yield f"### `{component.name}`\n"
    yield f"{component.summary[:1].upper()}{component.summary[1:]}. From `{entry.distribution.split()[0]}`.\n"
    fields = component.options.model_fields
    if not fields:
        yield "It has no options.\n"
        return
    yield "| option | type | default | what it does |"
    yield "|---|---|---|---|"
    for name, field in fields.items():
        default = "(required)" if field.default is PydanticUndefined else f"`{plain(field.default)}`"
        cells = (f"`{option_place(entry, name)}`", type_name(field.annotation), default, field.description or "")
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    yield ""
