"""The files of a run that others need, collected in a folder that is a run itself: what `vsr push` uploads.

The last checkpoint, whose optimizer state is twice as large as the model, stays here, and so do the paths of this
machine and the command line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path, PureWindowsPath
from typing import Any

from ..errors import VsrError
from ..files.atomic import link_or_copy, read_json, write_json
from ..files.checksums import CHECKSUMS, verify_file, write_checksums
from .hub import BEST, files_of_run
from .results import EVALUATIONS, RESULT, STATISTICS, WHAT, Evaluated, name_of_data
from .run import WEIGHTS, Run

PRIVATE = ("argv", "problem")
"""Entries of run.json that others do not need, and that name folders of this machine."""
ONLY_NUMBERS = (RESULT, STATISTICS)
"""The files of an evaluation that hold no text or image of a story."""


def copy_shared(run: Run, folder: Path, evaluations: Sequence[Evaluated], *, stories: bool) -> list[str]:
    """Fill a folder with the files of a finished run that others need, and return their paths in it.

    Large files are hard links where the file system allows it. Without `stories`, what shows texts or images of the
    data is left out of the `evaluations`. Raises VsrError if the run is not finished, or a file is damaged.
    """
    facts = run.facts()
    if facts["status"] != "finished":
        raise VsrError(
            f"{run.folder}: its training has not finished (status: {facts['status']}), so it is not shared; finish it "
            f"with 'vsr train --resume {run.folder}'"
        )
    which = run.which_checkpoint()
    run.verify(which)
    data = data_name(run)
    for name in ("config.json", "history.jsonl", "curves.png"):
        if (run.folder / name).is_file():
            link_or_copy(run.folder / name, folder / name)
    for name in facts["checksums"]:
        link_or_copy(run.folder / name, folder / name)
    for name in (WEIGHTS, "epoch.json"):
        if (source := run.checkpoint(which) / name).is_file():
            link_or_copy(source, folder / BEST / name)
    write_checksums(folder / BEST, [path.name for path in (folder / BEST).iterdir()])
    write_json(folder / "run.json", {**{k: v for k, v in facts.items() if k not in PRIVATE}, "data": data})
    for evaluated in evaluations:
        _copy_evaluation(evaluated, folder / EVALUATIONS / evaluated.label, name=run.folder.resolve().name, data=data,
                         stories=stories)  # fmt: skip
    there = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return files_of_run(Run(folder), there, where=str(run.folder))


def data_name(run: Run) -> str:
    """Return a name for the data of a run, in place of its path on this machine."""
    options = run.config().get("data", {})
    return f"{options.get('dataset', 'data')}-{str(options.get('fingerprint', ''))[:12]}"


def local_paths(value: Any, at: str = "") -> Iterable[tuple[str, str]]:
    """Yield the settings of a configuration that are absolute paths, each with its name."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from local_paths(item, f"{at}.{key}".lstrip("."))
    elif isinstance(value, list):
        for item in value:
            yield from local_paths(item, at)
    elif isinstance(value, str) and (Path(value).is_absolute() or PureWindowsPath(value).is_absolute()):
        yield at, value


def _copy_evaluation(evaluated: Evaluated, folder: Path, *, name: str, data: str, stories: bool) -> None:
    for path, checksum, remedy in evaluated.files():
        verify_file(path, checksum, remedy=remedy)
        within = path.relative_to(evaluated.folder).as_posix()
        if within != RESULT and (stories or within in ONLY_NUMBERS):
            link_or_copy(path, folder / within)
    result = read_json(evaluated.folder / RESULT, what=WHAT)
    if evaluated.is_named_other:
        data = f"{name_of_data(Path(result['data']))}-{evaluated.facts.get('data', '')}"
    write_json(folder / RESULT, {**result, "run": name, "data": data})
    written = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    write_checksums(folder, [each for each in written if each != CHECKSUMS])
