"""Renaming and removing run folders, while no process writes to them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ..errors import VsrError
from ..files.atomic import is_temporary, remove_at_once
from ..files.locks import exclusive_lock
from .results import EVALUATIONS
from .run import FOLDS
from .summary import is_run

LISTS = {"ablation.json": "an ablation", "tune.json": "a search", FOLDS: "a cross-validation"}
"""Files that list the runs of a folder by their names, and what wrote them."""


def check_removable(folder: Path) -> None:
    """Raise VsrError if a folder is no run, is a link, or belongs to a folder that lists it by its name."""
    if folder.is_symlink():
        raise VsrError(f"{folder}: is a link, not a run folder; name the folder that it leads to, or remove the link")
    if not (is_run(folder) or (folder / FOLDS).is_file()):
        raise VsrError(f"{folder}: is not a run (a folder that 'vsr train' wrote); see 'vsr runs list'")
    for place in folder.absolute().parents[:2]:
        for name, what in LISTS.items():
            if (place / name).is_file():
                raise VsrError(
                    f"{folder}: is one of the runs of {what}, which finds it by its name; leave it, or remove all of "
                    f"{place}"
                )


def remove_run(folder: Path) -> None:
    """Remove a run, at once for other processes. Raises VsrError if one writes to it, or as `check_removable` does."""
    check_removable(folder)
    with _unused(folder):
        remove_at_once(folder)


def rename_run(folder: Path, name: str) -> Path:
    """Rename a run within its folder, and return its new path.

    Results and predictions of a run are found within it, so they keep. Raises VsrError if the name is taken or is
    none, if a process writes to the run, or as `check_removable` does.
    """
    check_removable(folder)
    if name in ("", ".", "..") or "/" in name or "\\" in name or name.startswith((".", "-")):
        raise VsrError(f"{name!r}: not a name for a run; type one without a folder, which does not begin with . or -")
    if (folder / FOLDS).is_file():
        raise VsrError(
            f"{folder}: a cross-validation cannot be renamed, since its runs record where their data is; "
            "evaluate again with --folds and --out for another name"
        )
    new = folder.absolute().parent / name if folder.name in ("", "..") else folder.with_name(name)
    with _unused(folder):
        if new.exists() or new.is_symlink():
            raise VsrError(f"{new}: exists already; choose another name, nothing is overwritten")
        folder.rename(new)
    return new


@contextmanager
def _unused(folder: Path) -> Iterator[None]:
    """Hold the locks of a run and of its evaluations. Raises VsrError if another process holds one."""
    busy = "another process is {} it; wait for that, or stop it first"
    evaluations = folder / EVALUATIONS
    with ExitStack() as stack:
        stack.enter_context(exclusive_lock(folder, busy=f"{folder}: {busy.format('training')}"))
        for each in sorted(evaluations.iterdir()) if evaluations.is_dir() else []:
            if each.is_dir() and not each.is_symlink() and not is_temporary(each):
                stack.enter_context(exclusive_lock(each, busy=f"{folder}: {busy.format('evaluating')}"))
        yield
