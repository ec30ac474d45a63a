"""The home folder in paths that people write where no shell expands it."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import VsrError

HOME = re.compile(r"~[^/]*(/|$)")


def expand_home(text: str) -> str:
    """Return a path with "~" or "~user" at its start replaced by that home folder; any other text as it is.

    A shell does so only for a word that begins with it: not in quotes, and not in `--out=~/x` everywhere.

    Raises VsrError if there is no such user, or nobody knows where the home folder is.
    """
    if not HOME.match(text):
        return text
    try:
        return str(Path(text).expanduser())
    except RuntimeError as error:
        who = text.partition("/")[0]
        raise VsrError(
            f"{text}: there is no home folder of {who}; write the whole path, or ./{text} for a file that is called so"
        ) from error


def is_home_path(text: str) -> bool:
    """Whether a setting's value is a path from a home folder: "~/x" or "~user/x", not a tilde that means itself."""
    return bool(re.match(r"~[\w.-]*/", text))
