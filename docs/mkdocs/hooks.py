"""Hooks of MkDocs: generate the reference pages from the code, and list the decisions in the navigation."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typer.cli import get_docs_for_click

import vsr_cli
from vsr_cli import api
from vsr_cli.api import Decoding
from vsr_cli.cli.main import command_line
from vsr_cli.cli.parsing.commands import leaves
from vsr_cli.cli.plugins.new import render_package
from vsr_cli.cli.plugins.show import option_place, plain, type_name
from vsr_cli.config.schema import COMMON
from vsr_cli.data.lint import DEFECTS, SEVERITIES
from vsr_cli.plugin.discovery import GROUP, discover
from vsr_cli.plugin.kinds import KINDS, kind_of_word

DOCS = Path(__file__).parents[1]
OPTION_COLUMNS = ("option", "type", "default", "description")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the decisions, whose files are named after their numbers, as the last part of the navigation."""
    assert config.nav is not None
    config.nav.append({"Decisions": [f"decisions/{path.name}" for path in sorted((DOCS / "decisions").glob("*.md"))]})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    pages = {"cli": cli(), "settings": settings(), "components": components(), "problem-codes": problem_codes()}
    pages["python"] = python()
    for name, text in pages.items():
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Replace `<!-- package: KIND NAME -->` by the package that `vsr plugins new` writes, and `<!-- api -->`."""
    if page.file.src_uri == "comparison.md":
        page.meta["hide"] = ["navigation", "toc"]  # here and not in the page, where GitHub would show it: wide tables
    markdown = re.sub(r"<!-- package: (\S+) (\S+) -->", lambda match: package(match[1], match[2]), markdown)
    return markdown.replace("<!-- api -->", api_names())


def python() -> str:
    """Return the page of the Python API, from its docstrings."""
    lines = ["# Python API", "", "How to use it: [Use a model from Python](../how-to/python.md).", ""]
    public = [getattr(vsr_cli, name) for name in vsr_cli.__all__ if name != "__version__"]
    for each in sorted(public, key=lambda each: (inspect.isclass(each), each.__name__)):
        lines += _documented(f"## `{each.__name__}`", each)
        if not inspect.isclass(each) or issubclass(each, BaseException):
            continue
        for name, member in vars(each).items():
            if not name.startswith("_") and (inspect.isfunction(member) or isinstance(member, property)):
                lines += _documented(f"### `{each.__name__}.{name}`", member)
    return "\n".join(lines)


def _documented(head: str, described: Any) -> list[str]:
    """Return a heading, the signature of a function, and its docstring, from the second paragraph on as it is."""
    first, _, rest = (inspect.getdoc(described) or "").partition("\n\n")
    lines = [head, ""]
    if inspect.isfunction(described):
        lines += ["```python", f"{described.__name__}{inspect.signature(described)}", "```", ""]
    lines += [first, ""]
    return [*lines, "```text", rest, "```", ""] if rest else lines


def cli() -> str:
    """Return the page of all commands."""
    command = command_line()
    command.entries = {name: entry for name, entry in command.entries.items() if not entry.hidden}
    for each in leaves(command):
        each.short_help = (each.help or "").partition("\n")[0]  # in full, where click cuts it off
    page = get_docs_for_click(obj=command, ctx=typer.Context(command, info_name="vsr"), name="vsr", title="Commands")
    return page.replace(
        "# Commands\n", "# Commands\n\nFor everyone who types a command. The same text as `--help`.\n", 1
    )


def settings() -> str:
    """Return the page of the settings that belong to no component."""
    lines = [
        "# Settings\n",
        "For everyone who uses `--set SECTION.KEY=VALUE` or a configuration file.",
        "[Components](components.md) have settings of their own.\n",
    ]
    for section, options in {**COMMON, "decoding": Decoding}.items():
        fields = options.model_fields
        lines += [f"## `{section}`\n", f"{inspect.getdoc(options)}\n"]
        lines += table(OPTION_COLUMNS, (option_row(f"{section}.{name}", field) for name, field in fields.items()))
    return "\n".join(lines)


def components() -> str:
    """Return the page of the components that `vsr` ships, with their options."""
    registry = discover(
        [point for point in entry_points(group=GROUP) if point.value.startswith("vsr_plugins.")], disabled=set()
    )
    lines = [
        "# Components\n",
        "For everyone who chooses or configures a component. `vsr plugins list` also lists those of other plugins.\n",
    ]
    for kind in KINDS:
        lines.append(f"## {kind.title.capitalize()}: `{kind.flag}`\n")
        entries = [entry for entry in registry.provided if entry.section == kind.section]
        for entry in sorted(entries, key=lambda entry: entry.component.name):
            component = entry.component
            fields = component.options.model_fields
            lines += [f"### `{component.name}`\n", f"{component.summary[:1].upper()}{component.summary[1:]}.\n"]
            rows = (option_row(option_place(entry, name), field) for name, field in fields.items())
            lines += table(OPTION_COLUMNS, rows) if fields else []
    return "\n".join(lines)


def problem_codes() -> str:
    """Return the page of the problems that `vsr prepare` and `vsr data lint` report."""
    lines = [
        "# Problem codes\n",
        "For everyone who reads `problems.jsonl` or the output of [`vsr data lint`](../how-to/inspect-data.md).\n",
    ]
    for severity, meaning in SEVERITIES.items():
        codes = [(code, defect) for code, defect in sorted(DEFECTS.items()) if defect.severity == severity]
        lines += [f"## {severity.capitalize()}s\n", f"{meaning[:1].upper()}{meaning[1:]}.\n"]
        lines += table(("code", "problem", "remedy"), ((f"`{code}`", *d.meaning.split("; ")) for code, d in codes))
    return "\n".join(lines)


def package(word: str, name: str) -> str:
    """Return the modules of the package that `vsr plugins new` writes, as code blocks."""
    files = render_package(kind_of_word(word), name)
    return "\n".join(
        f'```python title="{path}"\n{text}```\n' for path, text in files.items() if re.match("vsr_.*py$", path)
    )


def api_names() -> str:
    """Return a table of what `vsr_cli.api` exports, with the first line of each docstring."""
    rows = ((f"`{name}`", first_line(getattr(api, name))) for name in sorted(api.__all__, key=str.lower))
    return "\n".join(table(("name", "description"), rows))


def first_line(value: Any) -> str:
    """Return the first line of a docstring; of a value without one, its type."""
    documented = inspect.isclass(value) or inspect.isroutine(value)
    return (inspect.getdoc(value) or "").partition("\n")[0] if documented else f"a {type(value).__name__}"


def option_row(place: str, field: FieldInfo) -> tuple[str, ...]:
    """Return the row of one option in a table."""
    default = "(required)" if field.default is PydanticUndefined else f"`{plain(field.default)}`"
    return f"`{place}`", type_name(field.annotation), default, field.description or ""


def table(columns: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> list[str]:
    """Return a Markdown table as lines, with an empty one after it."""
    lines = [" | ".join(columns), " | ".join("---" for _ in columns)]
    lines += [" | ".join(cell.replace("|", "\\|") for cell in row) for row in rows]
    return [*(f"| {line} |" for line in lines), ""]
