"""The words on the command line: what Typer does not do with them by itself."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, ClassVar, cast

import typer
from typer.core import TyperCommand

from ..config.resolve import preset_facts
from ..console import fail, results_alone_on_stdout
from ..plugin.faults import naming_faults

# Typer 0.29 carries its own copy of click and names this class nowhere public.
UsageError = cast("type[Any]", typer.BadParameter.__mro__[1])


class Command(TyperCommand):
    """A command that writes to stdout what it was asked for, and nothing else that anyone prints meanwhile."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command, with stdout for its results alone. Its help has been shown by now.

        Raises PluginError for an error that is a plugin's.
        """
        with results_alone_on_stdout(), naming_faults():
            return super().invoke(ctx)


class SeveralValues(Command):
    """A command of which some options take every value that follows them: Typer's options take one each."""

    several: ClassVar[tuple[str, ...]]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Write `--metrics bleu rouge` as `--metrics bleu --metrics rouge`, then parse as ever."""
        spread: list[str] = []
        following: str | None = None
        for index, word in enumerate(args):
            if word == "--":
                spread += args[index:]
                break
            if word.startswith("-"):
                following = word if word in self.several else None
                spread.append(word)
            elif following and spread[-1] != following:
                spread += [following, word]
            else:
                spread.append(word)
        parsed: list[str] = super().parse_args(ctx, spread)
        return parsed


class SeveralMetrics(SeveralValues):
    """A command whose `--metrics` takes several values."""

    several = ("--metrics",)


def examples(*lines: str) -> str:
    """Show commands as they are typed, one a line, below a command's options."""
    return "\n\n".join(["**Examples**", *(f"`{line}`" for line in lines)])


def presets_and_examples(*lines: str) -> str:
    """Show the presets, one a line, and then commands as they are typed."""
    presets = [
        f"`{facts.name}`: {facts.summary}. Downloads {facts.download}. Takes {facts.machine}."
        for facts in preset_facts()
    ]
    return "\n\n".join(["**Presets**", *presets, examples(*lines)])


def fail_usage(error: Any, app: typer.Typer) -> None:
    """Report words that are no command, in one line that says what to type, or show the help where there are none."""
    if not error.format_message():
        return  # typing a group's name alone has shown its help by now
    command, path, rest = _command_typed(app)
    message, instead = _words_instead(error, command, path, rest)
    line = f"{message[:1].lower()}{message[1:].rstrip('.?')}"
    fail(f"{line}; {instead + '; ' if instead else ''}see '{' '.join(['vsr', *path])} --help'")


def _words_instead(error: Any, command: Any, path: Sequence[str], rest: Sequence[str]) -> tuple[str, str | None]:
    """Return what is wrong with the words, and what to type instead where that can be told."""
    from .suggestions import argument_instead, command_instead, option_instead

    options = [name for parameter in command.params for name in parameter.opts]
    if hasattr(error, "option_name") and hasattr(error, "possibilities"):
        typed, value = _option_typed(error.option_name, rest)
        return f"no such option {typed}", option_instead(" ".join(path), options, typed, value)
    message = " ".join(error.format_message().split())
    if message.startswith("No such command"):
        below = {name: [*getattr(each, "commands", {})] for name, each in command.commands.items()}
        word, *following = rest
        return message.partition(" Did you mean")[0], command_instead(word, following, below, path=path)
    if message.startswith("Got unexpected extra argument"):
        word = message.partition("argument(s) (")[2].removesuffix(")").split(" ")[0]
        return f"unexpected argument {word}", argument_instead(" ".join(path), options, word)
    return message, None


def _option_typed(name: str, words: Sequence[str]) -> tuple[str, str | None]:
    """Return an option as it was typed, and its value or the word after it; the error names one dash and a letter."""
    for word, following in zip(words, [*words[1:], "-"], strict=True):
        typed, equals, value = word.partition("=")
        if typed == name or (not name.startswith("--") and word.startswith(name)):
            return typed, value if equals else None if following.startswith("-") else following
    return name, None


def _command_typed(app: typer.Typer) -> tuple[Any, list[str], list[str]]:
    """Return the command that the words lead to, these words, and the others; the error does not always know."""
    command: Any = typer.main.get_command(app)
    words = sys.argv[1:]
    for number, word in enumerate(words):
        below = getattr(command, "commands", {}).get(word)
        if below is None:
            return command, words[:number], words[number:]
        command = below
    return command, words, []
