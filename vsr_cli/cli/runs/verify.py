"""`vsr runs verify`: compare a run with its checksums."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import VsrError
from ...files.checksums import verify_file
from ...runs.run import Run
from ..arguments import Json, RunName
from ..parsing.commands import examples
from ..verification import show_verified
from .list import named_run

if TYPE_CHECKING:
    from ...data.verify import Verified


@examples("vsr runs verify", "vsr runs verify runs/lstm --json")
def runs_verify(
    run: RunName = None,
    as_json: Json = False,
) -> None:
    """Read every file of a run and compare it with its checksum. Exit code 1 if any are damaged."""
    folder = named_run(run)
    show_verified(folder, verify_run(folder), as_json=as_json)


def verify_run(folder: Path) -> Verified:
    """Read every file of a run and of its evaluations that has a checksum."""
    from ...data.verify import Verified
    from ...runs.history import read_history
    from ...runs.results import all_stored

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
