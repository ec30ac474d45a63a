"""`vsr runs rm`: remove runs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...console import err, print_json, say
from ...errors import VsrError, check_together
from ...files.atomic import is_temporary
from ...quantities import counted, size
from ...runs.run import FOLDS, OWNED
from ..arguments import Json, as_path
from ..parsing.commands import examples
from ..parsing.completion import complete_run_name
from .list import named_run

if TYPE_CHECKING:
    from ...runs.summary import RunSummary

NOT_REMOVED = 1
WRITTEN = (*OWNED, "tensorboard", "wandb", FOLDS, "data")
"""What training, trackers and cross-validation write in a run folder."""


@examples("vsr runs rm 2026-11-30_10-00-00_gru", "vsr runs rm runs/first runs/second --yes")
def runs_rm(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...",
            parser=as_path,
            help="Folders of runs, or their names under runs/.",
            autocompletion=complete_run_name,
        ),
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Remove runs with everything in their folders, after a question. A run that is being trained is refused."""
    from ...data.shards import folder_bytes
    from ...runs.renaming import check_removable, remove_run
    from ...runs.summary import summarise

    folders = check_together(
        *(lambda run=run: _checked(named_run(run, only_here=True), check_removable) for run in runs)
    )
    folders = list({folder.resolve(): folder for folder in folders}.values())
    sizes = {folder: folder_bytes(folder) for folder in folders}
    if not yes:
        for folder in folders:
            err.print(_described(summarise(folder), sizes[folder]), markup=False, soft_wrap=True)
        if not _agreed(len(folders)):
            say("nothing is removed")
            raise typer.Exit(NOT_REMOVED)
    for folder in folders:
        remove_run(folder)
    if as_json:
        print_json({"removed": [str(folder) for folder in folders], "bytes": sum(sizes.values())})
    else:
        say(f"removed {counted(len(folders), 'run')}, {size(sum(sizes.values()))}")


def _checked(folder: Path, check: Callable[[Path], None]) -> Path:
    check(folder)
    return folder


def _described(run: RunSummary, count: int) -> str:
    """Return one line about a run that is to be removed, with the files in it that vsr did not write."""
    epochs = f", {counted(run.epochs_done, 'epoch')}" if run.epochs_done else ""
    others = sorted(path.name for path in run.folder.iterdir() if not _is_own(path))
    beside = f", and files that are not of vsr: {', '.join(others)}" if others else ""
    return f"{run.folder}: {run.status}{epochs}, {size(count)}{beside}"


def _is_own(path: Path) -> bool:
    return path.name in WRITTEN or path.name.startswith("fold-") or is_temporary(path)


def _agreed(count: int) -> bool:
    """Ask whether to remove the runs. Raises VsrError where nobody can answer."""
    if not sys.stdin.isatty():
        raise VsrError("runs rm: asks before it removes anything, and nobody can answer here; add --yes")
    err.print(f"remove {'it' if count == 1 else f'these {count} runs'}? [y/N] ", end="", markup=False)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
