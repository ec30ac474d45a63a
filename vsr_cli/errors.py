"""The one exception that a user's mistake raises."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class VsrError(Exception):
    """A mistake of the user's: the message is one line that says where, what, and what to do.

    The command line prints it without a traceback and ends with exit code 2.
    """


def one_line(error: BaseException) -> str:
    """Give the first line of an error's message, or its kind where it has none."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which known names come closest to a misspelt one, or list them all where none is near."""
    names = sorted(known)
    close = get_close_matches(name, names, n=3, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(close) + "?"
    return "known: " + (", ".join(names) or "none")
