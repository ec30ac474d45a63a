"""Creating, finding and reopening run folders."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from .. import __version__
from ..api.requirements import installed_version
from ..errors import VsrError
from ..files.atomic import is_empty, is_temporary, remove, sweep, write_json
from .hub import LOCAL, find_run, hub_id
from .run import FORMAT, RUNS, WRITTEN, Run, now

PACKAGES = ("torch", "torchvision", "transformers", "tokenizers", "accelerate", "datasets", "numpy", "pillow")
"""The packages that results depend on, whose versions a run records."""


@contextmanager
def created_run(
    folder: Path | None, *, config: dict[str, Any], data: Path, distributions: Mapping[str, str]
) -> Iterator[Run]:
    """Create a run folder with its configuration, before anything heavy is imported, and hold its lock in the block.

    `distributions` maps each part to the package that provides it. Raises VsrError if the folder is not empty, or
    another process trains in it.
    """
    if folder is None:
        folder = _make_folder(f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{config['temporal']['name']}")
    taken = f"--out {folder}: exists and is not an empty folder; name another, nothing is overwritten"
    if folder.exists() and not folder.is_dir():
        raise VsrError(taken)
    run = Run(folder)
    with run.alone():
        if not _is_free(folder):
            raise VsrError(taken)
        write_json(folder / "config.json", config)
        write_json(
            folder / "run.json",
            {
                "format": FORMAT,
                "status": "running",
                "started": now(),
                "argv": sys.argv,
                "seed": config["training"]["seed"],
                "data": str(data.resolve()),
                "versions": versions(),
                "distributions": dict(distributions),
                "problem": None,
            },
        )
        yield run


def _make_folder(name: str) -> Path:
    """Create runs/NAME, with a number appended if another process has just created it."""
    number = 1
    while True:
        folder = RUNS / (name if number == 1 else f"{name}_{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return folder


def _is_free(folder: Path) -> bool:
    """Whether nothing would be lost: an empty folder, or a run that ended before its first checkpoint.

    The latter includes a run that was killed, or found no disk space, between config.json and run.json.
    """
    if is_empty(folder):
        return True
    run = Run(folder)
    try:
        if [path.name for path in folder.iterdir() if not is_temporary(path)] == ["config.json"]:
            run.config()  # raises unless vsr wrote it
            return True
        ended = run.facts()["status"] in ("failed", "interrupted")
    except VsrError:
        return False
    return ended and not (folder / "checkpoints").exists()


def open_run(folder: Path | None) -> Run:
    """Open the run that is named as `find_run` reads it, or the newest finished one under runs/.

    Raises VsrError if there is none.
    """
    if folder is not None:
        folder = find_run(folder)
        run = Run(folder)
        if not folder.is_dir():
            like_an_id = hub_id(str(folder)) is not None and folder.parts[0] not in LOCAL
            here = f" ({folder.parts[0]}/ is a folder here, so this is no id of the Hub)" if like_an_id else ""
            raise VsrError(f"--run {folder}: there is no such folder{here}; 'vsr train' makes one under {RUNS}/")
        run.config()
        status = run.facts()["status"]
        if status not in ("finished", "interrupted"):
            raise VsrError(
                f"--run {folder}: its training has not finished (status: {status}); "
                f"wait for it, or resume it with 'vsr train --resume {folder}'"
            )
        if status == "interrupted" and not run.checkpoints.exists():
            raise VsrError(
                f"--run {folder}: it was stopped before its first checkpoint, so it has no weights; "
                f"resume it with 'vsr train --resume {folder}'"
            )
        return run
    finished = [run for run in map(Run, sorted(RUNS.glob("*"))) if _is_finished(run)]
    if not finished:
        raise VsrError(f"{RUNS}/: no finished run here; train one with 'vsr train', or name one")
    return max(finished, key=lambda run: str(run.facts()["ended"]))


def open_to_resume(folder: Path) -> Run:
    """Open a run whose training is to continue, whatever its status. Raises VsrError if the folder is not a run."""
    if not folder.is_dir():
        raise VsrError(f"--resume {folder}: there is no such folder; 'vsr train' makes runs under {RUNS}/")
    run = Run(folder)
    run.config()
    run.facts()
    return run


def remove_leftovers(run: Run) -> None:
    """Remove half-written files of a killed process, and where there is no checkpoint also the assets.

    The caller holds the run's lock.
    """
    if not run.checkpoint("last").is_dir():
        remove(run.assets)
    sweep(run.folder, names=WRITTEN)
    sweep(run.checkpoints, names=("last", "best"))


def _is_finished(run: Run) -> bool:
    try:
        return bool(run.facts()["status"] == "finished")
    except VsrError:
        return False  # another folder under runs/


def versions() -> dict[str, str]:
    """Return the versions of vsr, Python and the packages that results depend on."""
    found = {"vsr": __version__, "python": platform.python_version()}
    return found | {name: number for name in PACKAGES if (number := installed_version(name))}
