"""Commands and groups: a command's module is imported when the command is used, and stdout is for results alone."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from importlib import import_module
from keyword import iskeyword
from typing import Any, TypeVar, cast, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

SEVERAL = "..."
"""An option whose metavar ends with this takes every value that follows it: `--metrics bleu rouge`."""
ASSIGNED = "SECTION.KEY=VALUE..."
"""The metavar of an option that takes those words that are settings, so that a source or story may follow them."""
_ASSIGNMENT = re.compile(r"\w[\w-]*(\.[\w-]+)+=.*", re.DOTALL)
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 120}
# Typer 0.29 carries its own copy of click and names this class nowhere public.
UsageError = cast("type[Any]", typer.BadParameter.__mro__[1])
Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Entry:
    """A command or a group in the table of commands."""

    help: str
    module: str = ""
    """Of a command, where it is declared, relative to `vsr_cli.cli`."""
    commands: Mapping[str, Entry] | None = None
    """Of a group."""
    hidden: bool = False


class Command(TyperCommand):
    """A command whose stdout carries its results alone, and whose options may take several values."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Write `--metrics bleu rouge` as `--metrics bleu --metrics rouge`, then parse."""
        several = {word: each.metavar for each in self.params for word in each.opts if _takes_several(each)}
        spread: list[str] = []
        option: str | None = None
        for index, word in enumerate(args):
            if word == "--":
                spread += args[index:]
                break
            if word.startswith("-"):
                name = word.partition("=")[0]
                option = name if word in several or several.get(name) == ASSIGNED else None
            elif option and spread[-1] != option:
                if several[option] == ASSIGNED and not _ASSIGNMENT.fullmatch(word):
                    option = None
                else:
                    spread.append(option)
            spread.append(word)
        parsed: list[str] = super().parse_args(ctx, spread)
        return parsed

    def invoke(self, ctx: Any) -> Any:
        """Run the command. Raises PluginError for an error that is a plugin's fault."""
        from ...console import results_alone_on_stdout
        from ...plugin.faults import naming_faults

        with results_alone_on_stdout(), naming_faults():
            return super().invoke(ctx)


def _takes_several(option: Any) -> bool:
    return str(option.metavar).endswith(SEVERAL)


class LazyGroup(TyperGroup):
    """A group that knows its commands' names and one-line helps from a table, and imports a command when it is used."""

    entries: Mapping[str, Entry]
    path: tuple[str, ...] = ()
    """The words that lead to it, without `vsr`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Show the help where the group is typed alone."""
        if not args and not ctx.resilient_parsing:
            typer.echo(ctx.get_help())
            raise typer.Exit(2)
        rest: list[str] = super().parse_args(ctx, args)
        return rest

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the options, each flag with a default: for one without, Typer imports pydantic, which takes 0.3 s."""
        params: list[Any] = super().get_params(ctx)
        for each in params:
            if each.default is None and each.type_descriptor.annotation is bool:
                each.default = False
        return params

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands, in the order of the table."""
        return list(self.entries)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command or group, importing a command's module; None if there is none of this name."""
        entry = self.entries.get(cmd_name)
        if entry is None or cmd_name in self.commands:
            return self.commands.get(cmd_name)
        if entry.commands is not None:
            group = LazyGroup(name=cmd_name, help=entry.help, context_settings=CONTEXT, rich_markup_mode=None)
            group.entries, group.path = entry.commands, (*self.path, cmd_name)
            self.commands[cmd_name] = group
        else:
            name = "_".join([*self.path, cmd_name]).replace("-", "_")
            name += "_" if iskeyword(name) else ""
            function = getattr(import_module(f"vsr_cli.cli.{entry.module}"), name)
            alone = typer.Typer(add_completion=False, rich_markup_mode=None)
            epilog = f"Examples:\n\n\b\n{function.examples}"
            alone.command(cmd_name, cls=Command, epilog=epilog, context_settings=CONTEXT, hidden=entry.hidden)(
                expand_bundles(function)
            )
            self.commands[cmd_name] = typer.main.get_command(alone)
        return self.commands[cmd_name]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the table of commands; nothing of them is imported."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in self.entries.items() if not entry.hidden])


def leaves(group: LazyGroup) -> list[Any]:
    """Return all commands of a group and of those below it, which imports them."""
    context = typer.Context(cast(Any, group))
    found = [group.get_command(context, name) for name in group.list_commands(context)]
    return [leaf for each in found for leaf in (leaves(each) if isinstance(each, LazyGroup) else [each])]


def examples(*lines: str) -> Callable[[Function], Function]:
    """Attach the command lines that stand below a command's help."""

    def attach(function: Function) -> Function:
        function.examples = "\n".join(lines)  # type: ignore[attr-defined]
        return function

    return attach


def expand_bundles(function: Callable[..., Any]) -> Callable[..., Any]:
    """Replace each parameter whose type is a dataclass by the dataclass's fields, an option each.

    Options that several commands share are declared once, as a dataclass, and each of these commands takes one.
    """
    signature = inspect.signature(function, eval_str=True)
    bundles: dict[str, Any] = {
        name: each.annotation for name, each in signature.parameters.items() if is_dataclass(each.annotation)
    }
    parameters: list[inspect.Parameter] = []
    for name, parameter in signature.parameters.items():
        if name in bundles:
            hints = get_type_hints(bundles[name], include_extras=True)
            parameters += [
                inspect.Parameter(
                    field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name]
                )
                for field in fields(bundles[name])
            ]
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    @wraps(function)
    def command(**values: Any) -> Any:
        for name, bundle in bundles.items():
            values[name] = bundle(**{field.name: values.pop(field.name) for field in fields(bundle)})
        return function(**values)

    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    return command
