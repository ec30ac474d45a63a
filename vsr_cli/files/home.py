"""The home folder in paths that no shell expands."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import VsrError

HOME = re.compile(r"~[^/]*(/|$)")


def expand_home(text: str) -> str:
    """Return a path with "~" or "~user" at its start replaced by the home folder; other texts are not changed.

    Shells do not expand it in quotes, and not all of them in `--out=~/x`.

    Raises VsrError if there is no such user or the home folder is unknown.
    """
    if not HOME.match(text):
        return text
    try:
        return str(Path(text).expanduser())
    except RuntimeError as error:
        who = text.partition("/")[0]
        raise VsrError(
            f"{text}: there is no home folder of {who}; write the whole path, or ./{text} for a file of this name"
        ) from error


def is_home_path(text: str) -> bool:
    """Return whether the value of a setting is a path in a home folder, "~/x" or "~user/x"."""
    return bool(re.match(r"~[\w.-]*/", text))
