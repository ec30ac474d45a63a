"""`vsr data verify` and `vsr runs verify`: full checks, where other commands check what they read."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import typer

from ..console import fail, print_json, say
from ..data.prepared import open_prepared
from ..data.verify import Verified, verify_prepared
from ..errors import VsrError
from ..files.checksums import verify_file
from ..runs.history import read_history
from ..runs.results import all_stored
from ..runs.run import Run
from .data import find_prepared


def verify_data(folder: Path | None) -> tuple[Path, Verified]:
    """Read every file of prepared data, the newest if none is named. Raises VsrError if its manifest is damaged."""
    folder = find_prepared(folder)
    return folder, verify_prepared(open_prepared(folder))


def verify_run(folder: Path) -> Verified:
    """Read every file of a run and of its evaluations that has a checksum."""
    run = Run(folder)
    found = Verified()
    found.check(run.config, run.facts, lambda: read_history(run.history, epochs=run.epochs_trained()))
    for which in ("last", "best"):
        if not run.checkpoint(which).is_dir():
            continue
        files: list[tuple[Path, str, str]] = []
        found.check(partial(_extend, files, run, which))
        for path, checksum, remedy in files:
            found.check(partial(verify_file, path, checksum, remedy=remedy))
    for stored in all_stored(folder):
        if isinstance(stored, VsrError):
            found.files += 1
            found.damaged.append(str(stored))
        else:
            for path, checksum, remedy in stored.files():
                found.check(partial(verify_file, path, checksum, remedy=remedy))
    return found


def _extend(files: list[tuple[Path, str, str]], run: Run, which: str) -> None:
    files += run.checksums(which)


def show_verified(folder: Path, found: Verified, *, as_json: bool) -> None:
    """Print what was found. Raises typer.Exit with code 1 if something is damaged."""
    if as_json:
        print_json({"folder": str(folder), "checked": found.files, "damaged": found.damaged})
    else:
        for line in found.damaged:
            fail(line)
        state = f"{len(found.damaged)} damaged" if found.damaged else "all as they were written"
        say(f"{folder}: {found.files} files checked, {state}")
    if found.damaged:
        raise typer.Exit(1)
