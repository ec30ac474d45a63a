"""Show what a verification of checksums found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..console import fail, print_json, say
from ..quantities import counted

if TYPE_CHECKING:
    from ..data.verify import Verified


def show_verified(folder: Path, found: Verified, *, as_json: bool) -> None:
    """Print what was found. Raises typer.Exit with code 1 if any file is damaged."""
    if as_json:
        print_json({"folder": str(folder), "checked": found.files, "damaged": found.damaged})
    else:
        for line in found.damaged:
            fail(line)
        state = f"{len(found.damaged)} damaged" if found.damaged else "none damaged"
        say(f"{folder}: {counted(found.files, 'file')} checked, {state}")
    if found.damaged:
        raise typer.Exit(1)
