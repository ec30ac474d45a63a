"""One line for words that Typer does not take: what is wrong, and what to type instead."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, cast

import typer

from ...config.renamed import VALUES
from ...console import fail
from .commands import LazyGroup


def fail_usage(error: Any, root: LazyGroup) -> None:
    """Report words that are no command line in one line that says what to type."""
    command, path, rest = _typed_command(root)
    message, instead = _explain(error, command, path, rest)
    line = f"{message[:1].lower()}{message[1:].rstrip('.?')}"
    fail(f"{line}; {instead + '; ' if instead else ''}see '{' '.join(['vsr', *path])} --help'")


def _explain(error: Any, command: Any, path: Sequence[str], rest: Sequence[str]) -> tuple[str, str | None]:
    """Return what is wrong with the words, and what to type instead where that is known."""
    from .suggestions import suggest_command, suggest_option, suggest_option_for_argument

    options = [name for parameter in command.params for name in parameter.opts]
    if hasattr(error, "option_name") and hasattr(error, "possibilities"):
        typed, value = _typed_option(error.option_name, rest)
        return f"no such option {typed}", suggest_option(" ".join(path), options, typed, value)
    message = " ".join(error.format_message().split())
    if message.startswith("No such command"):
        below = {name: [*(entry.commands or {})] for name, entry in command.entries.items()}
        word, *following = rest
        return message.partition(" Did you mean")[0], suggest_command(word, following, below, path=path)
    if message.startswith("Got unexpected extra argument"):
        word = message.partition("argument(s) (")[2].removesuffix(")").split(" ")[0]
        return f"unexpected argument {word}", suggest_option_for_argument(" ".join(path), options, word)
    message = message.replace("Value error, ", "")
    return message, _suggest_value(error, message)


def _suggest_value(error: Any, message: str) -> str | None:
    """Return the new name of a value that was renamed, or the nearest of the values that an option takes."""
    found = re.search(r"'([^']*)' is not one of ('.*')", message)
    if not found:
        return None
    name = getattr(getattr(error, "param", None), "name", None)
    renamed = [new for path, new in VALUES.items() if path.rpartition(".")[2] == name and found[1] in new]
    near = get_close_matches(found[1], re.findall(r"'([^']*)'", found[2]), n=1, cutoff=0.5)
    if renamed:
        return f"it is now called {renamed[0][found[1]]}"
    return f"did you mean {near[0]}?" if near else None


def _typed_option(name: str, words: Sequence[str]) -> tuple[str, str | None]:
    """Return an option as it was typed, and its value or the word after it; the error names one dash and a letter."""
    for word, following in zip(words, [*words[1:], "-"], strict=True):
        typed, equals, value = word.partition("=")
        if typed == name or (not name.startswith("--") and word.startswith(name)):
            return typed, value if equals else None if following.startswith("-") else following
    return name, None


def _typed_command(root: LazyGroup) -> tuple[Any, list[str], list[str]]:
    """Return the command that the words lead to, these words, and the others; the error does not always know."""
    context = typer.Context(cast(Any, root), info_name="vsr")
    command: Any = root
    words = sys.argv[1:]
    for number, word in enumerate(words):
        below = command.get_command(context, word) if isinstance(command, LazyGroup) else None
        if below is None:
            return command, words[:number], words[number:]
        command, context = below, typer.Context(below, info_name=word, parent=context)
    return command, words, []
