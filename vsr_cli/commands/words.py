"""The words on the command line: what Typer does not do with them by itself."""

from __future__ import annotations

import errno
import sys
from typing import Any, ClassVar, cast

import typer
from typer.core import TyperCommand

from ..console import fail
from ..layers import preset_facts

# Typer 0.29 carries its own copy of click and names this class nowhere public.
UsageError = cast("type[Any]", typer.BadParameter.__mro__[1])


class SeveralValues(TyperCommand):
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
    """Tell of words that are no command, in one line, or show the help where there were no words at all."""
    message = " ".join(error.format_message().split())
    if not message:
        return  # typing a group's name alone has shown its help by now
    fail(f"{message[:1].lower()}{message[1:].rstrip('.?')}; see '{_command_typed(app)} --help'")


def _command_typed(app: typer.Typer) -> str:
    """Give the command that the words on the command line lead to; the error itself does not always know."""
    command: Any = typer.main.get_command(app)
    path = "vsr"
    for word in sys.argv[1:]:
        command = getattr(command, "commands", {}).get(word)
        if command is None:
            break
        path += f" {word}"
    return path


def os_mistake(error: OSError) -> str:
    """Say in one line what the operating system refused, and what helps."""
    reason = error.strerror or str(error)
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"{where}{reason}; free some space or write elsewhere with --out, then run the command again"
    return f"{where}{reason}; check the path and its permissions, then run the command again"
