"""Exceptions: user errors, errors of plugins, and damaged files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any


class VsrError(Exception):
    """A user error: the message is one line with the location, the problem and the remedy.

    The command line prints it without a traceback and ends with exit code 2. Each argument is the message of one error,
    printed on its own line.
    """

    @property
    def lines(self) -> list[str]:
        """The message of each error. A line break within a message is part of a quotation."""
        return [str(message) for message in self.args]

    def __str__(self) -> str:
        return "\n".join(self.lines)

    def _render_traceback_(self) -> list[str]:
        """Show no traceback in Jupyter either."""
        return [f"VsrError: {line}" for line in self.lines]


class PluginError(Exception):
    """An error of a plugin, not of the user: one line that names the plugin.

    The command line prints it without a traceback and ends with exit code 1.
    """


class DamagedFile(VsrError):
    """A file of vsr is missing or damaged; it must be created again."""


def collect_errors(*checks: Callable[[], Any]) -> list[str]:
    """Run checks and return the error lines of all that raise VsrError."""
    lines: list[str] = []
    for check in checks:
        try:
            check()
        except VsrError as error:
            lines += error.lines
    return lines


def check_together(*checks: Callable[[], Any]) -> list[Any]:
    """Return what the checks return. Raises one VsrError with the lines of all checks that raise one, if any does."""
    values: list[Any] = []
    if lines := collect_errors(*(lambda check=check: values.append(check()) for check in checks)):
        raise VsrError(*lines)
    return values


def one_line(error: BaseException) -> str:
    """Return the first line of an error's message, with the next one if it ends in a colon.

    The message of a KeyError is the key alone, and the kind of the error stands for an empty message.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    if isinstance(error, KeyError):
        return f"there is no {lines[0]}"
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]


def initials(name: str) -> str | None:
    """Return the first letters of a name's words, "lr" of "learning_rate"; None of a name of one word."""
    words = re.split("[-_]", name)
    return "".join(word[:1] for word in words) if len(words) > 1 else None


def nearest(name: str, known: Iterable[str], *, otherwise: str | None = None) -> str:
    """Return a hint at the known names that are closest to a misspelt one; `otherwise`, or all names, if none is."""
    names = sorted(known)
    close = get_close_matches(name, names, n=3, cutoff=0.5)
    close = [each for each in names if initials(each) == name] or close
    if close:
        return "did you mean " + " or ".join(close) + "?"
    if otherwise:
        return otherwise
    return "known: " + (", ".join(names) or "none")
