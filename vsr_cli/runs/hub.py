"""Runs of the Hugging Face Hub: finding a run by its path, its name or its id, and downloading it.

A run is downloaded into a folder of its own in the cache, one per commit, so that evaluations and predictions can be
written there. Only the files of a run are requested, none that holds code or a pickle, and each must fit the checksum
that the run recorded.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..console import say
from ..errors import VsrError, one_line
from ..files.atomic import link_or_copy, replacing_folder
from ..files.checksums import CHECKSUMS, file_checksum
from ..system_errors import cache_folder
from .results import EVALUATIONS, LEAKS, PICTURES, PREDICTIONS, RESULT, STATISTICS, STORYBOARDS
from .run import FROZEN, HALVES, RUNS, WEIGHTS, Run

LOCAL = (RUNS.name, "data", "scores")
"""Default folders: a path in one of them is never an id of the Hub, so that a typing error causes no request."""
_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9_]|[.-](?![.-]))*(?<![.-])"
_ID = re.compile(rf"(?P<repo>{_PART}/{_PART})(?:@(?P<revision>[A-Za-z0-9][\w./-]*))?")
COMMIT = re.compile("[0-9a-f]{40}")
LONGEST_ID = 96
SHOWN_DIGITS = 12
"""Digits of a commit in the name of its folder."""
HEAD = ("config.json", "run.json")
"""The files by which a repository is a run, downloaded first."""
BEST = "checkpoints/best"
REQUIRED = (*HEAD, FROZEN, f"{BEST}/{WEIGHTS}", f"{BEST}/{CHECKSUMS}")
OPTIONAL = ("history.jsonl", "curves.png", f"{BEST}/epoch.json")
OF_EVALUATION = (RESULT, PREDICTIONS, STATISTICS, LEAKS, STORYBOARDS, CHECKSUMS)
_EVALUATION = re.compile(
    rf"{EVALUATIONS}/\w[\w.=,+-]*/(?:{'|'.join(map(re.escape, OF_EVALUATION))}|{PICTURES}/[0-9]+\.jpg)"
)
EXECUTABLE = (".py", ".pyc", ".pyd", ".so", ".dll", ".dylib", ".sh", ".exe", ".pkl", ".pickle", ".pt", ".pth", ".bin",
              ".ckpt", ".joblib", ".dill", ".npy", ".npz")  # fmt: skip
"""Suffixes of files that hold or may hold code or a pickle: none is part of a run that is shared."""


@dataclass(frozen=True)
class HubId:
    """A run's repository on the Hub, and a branch, tag or commit; None is the main branch."""

    repo: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"{self.repo}@{self.revision}" if self.revision else self.repo


def hub_id(named: str) -> HubId | None:
    """Read "user/name" or "user/name@revision"; None for any other text."""
    match = _ID.fullmatch(named)
    if match is None or len(match["repo"]) > LONGEST_ID or match["repo"].endswith(".git"):
        return None
    return HubId(match["repo"], match["revision"])


def local_run(named: Path) -> Path:
    """Return the folder of a run of this machine: an existing path, else a name under runs/, else the path itself."""
    return named if named.exists() or not (RUNS / named).is_dir() else RUNS / named


def find_run(named: Path) -> Path:
    """Return the folder of a run: an existing path, a name under runs/, or else one of the Hub, which is downloaded.

    A path that is none of these is returned as it is. A first word that is a folder here makes it a path, not an id.
    Raises VsrError if the Hub has no such run, or it cannot be read.
    """
    here = local_run(named)
    wanted = hub_id(str(named))
    if here.exists() or wanted is None or named.parts[0] in LOCAL or Path(named.parts[0]).is_dir():
        return here
    return download_run(wanted)


def download_run(wanted: HubId) -> Path:
    """Return the folder of a run of the Hub, downloading what the cache lacks.

    If the Hub cannot be reached, the last downloaded commit is used. Raises VsrError, in one line, if there is no such
    run, no access to it, or if it is damaged or would need files that hold code.
    """
    if wanted.revision and COMMIT.fullmatch(wanted.revision) and (place := _place(wanted, wanted.revision)).is_dir():
        return place
    with _errors(wanted):
        commit, sizes = _list(wanted)
        place = _place(wanted, commit)
        if not place.is_dir():
            if missing := [name for name in REQUIRED if name not in sizes]:
                raise VsrError(f"{wanted}: is not a run of vsr on the Hugging Face Hub (has no {missing[0]}); check it")
            snapshot = _fetch(wanted, commit, HEAD)
            names = files_of_run(Run(snapshot), sizes, where=str(wanted))
            total = sum(sizes[name] for name in names)
            say(f"downloading {wanted} ({len(names)} files, {total / 1e6:.1f} MB)")
            _install(wanted, _fetch(wanted, commit, names), names, place)
    return place


def files_of_run(run: Run, there: Iterable[str], *, where: str) -> list[str]:
    """Return which files, by their paths from the run's folder, are those of a shared run; all others are ignored.

    Raises VsrError, beginning with `where`, if the run needs one that is missing, outside of it, or may hold code.
    """
    try:
        run.config()
        recorded = run.facts().get("checksums")
    except VsrError as error:
        raise VsrError(f"{where}: is not a run of this version of vsr ({one_line(error)})") from error
    if not isinstance(recorded, dict) or FROZEN not in recorded:
        raise VsrError(f"{where}: its run.json holds no checksums of the weights; ask its author to push it again")
    for name in recorded:
        path = PurePosixPath(name)
        if name not in (FROZEN, *HALVES.values()) and (
            path.parts[:1] != ("assets",) or ".." in path.parts or re.search(r"[\\:\0]", name)
        ):
            raise VsrError(f"{where}: names a file outside of its assets ({name}); refused, do not trust this run")
        if path.suffix.lower() in EXECUTABLE:
            raise VsrError(f"{where}: needs {name}, which may hold code; vsr loads no such file, so it is refused")
    available = set(there)
    if missing := sorted({*REQUIRED, *recorded} - available):
        raise VsrError(f"{where}: lacks {missing[0]}; ask its author to push the run again")
    chosen = {*REQUIRED, *recorded, *(name for name in OPTIONAL if name in available)}
    return sorted(chosen | {name for name in available if _EVALUATION.fullmatch(name)})


def _place(wanted: HubId, commit: str) -> Path:
    return cache_folder() / "hub" / f"{wanted.repo.replace('/', '--')}@{commit[:SHOWN_DIGITS]}"


def _list(wanted: HubId) -> tuple[str, dict[str, int]]:
    """Return the commit and the size of each file in it; of a commit that is in the cache, perhaps no files."""
    from huggingface_hub import HfApi, constants, snapshot_download
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    try:
        info = HfApi().model_info(
            wanted.repo, revision=wanted.revision, files_metadata=True, timeout=constants.HF_HUB_ETAG_TIMEOUT
        )
    except (HTTPError, OSError) as error:
        if _refused(error):
            raise
        try:
            cached = snapshot_download(
                wanted.repo, revision=wanted.revision, allow_patterns=[*HEAD], local_files_only=True
            )
        except (OSError, ValueError):
            raise ConnectionError from error
        commit = Path(cached).name
        if not _place(wanted, commit).is_dir():
            raise ConnectionError from error
        say(f"{wanted}: the Hugging Face Hub cannot be reached; using the cached commit {commit[:SHOWN_DIGITS]}")
        return commit, {}
    return str(info.sha), {file.rfilename: file.size or 0 for file in info.siblings or ()}


def _refused(error: BaseException) -> bool:
    """Return whether the Hub answered that there is no such thing, or no access to it."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status in (401, 403, 404)


def _fetch(wanted: HubId, commit: str, names: Iterable[str]) -> Path:
    """Return the cache's folder of a commit after downloading some files of it."""
    from huggingface_hub import snapshot_download

    from ..api import terminal_bar

    branch = None if wanted.revision and COMMIT.fullmatch(wanted.revision) else wanted.revision or "main"
    patterns = [glob.escape(name) for name in names]
    folder = Path(snapshot_download(wanted.repo, revision=branch, allow_patterns=patterns, tqdm_class=terminal_bar()))
    if folder.name != commit:  # the branch moved since it was listed
        folder = Path(
            snapshot_download(wanted.repo, revision=commit, allow_patterns=patterns, tqdm_class=terminal_bar())
        )
    return folder


def _install(wanted: HubId, snapshot: Path, names: Iterable[str], place: Path) -> None:
    """Make a run folder of downloaded files, after verifying the checksum of each that has one.

    The cache of huggingface_hub holds links, in which nothing may be written; here are files, without a second copy
    where the file system allows it. A later write replaces a file and does not change the cache's.
    """
    with replacing_folder(place) as folder:
        for name in names:
            link_or_copy(snapshot / name, folder / name)
        for path, checksum, _ in Run(folder).checksums("best"):
            if file_checksum(path) != checksum:
                name = path.relative_to(folder).as_posix()
                raise VsrError(f"{wanted}: {name} does not fit its checksum; ask its author to push the run again")


@contextmanager
def _errors(wanted: HubId) -> Iterator[None]:
    """Convert errors of huggingface_hub to one VsrError."""
    from huggingface_hub.errors import (  # type: ignore[attr-defined]
        GatedRepoError,
        HTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    from ..api import hub_reason, quiet_hub

    login = "log in with 'hf auth login', or set HF_TOKEN"
    try:
        with quiet_hub():
            yield
    except GatedRepoError as error:
        raise VsrError(
            f"{wanted}: access must be requested on its page of the Hugging Face Hub; then {login}"
        ) from error
    except RepositoryNotFoundError as error:
        raise VsrError(
            f"{wanted}: there is no such folder, and no such run on the Hugging Face Hub or it is private; check the "
            f"name, or {login}"
        ) from error
    except RevisionNotFoundError as error:
        raise VsrError(f"{wanted}: the repository has no such revision; leave it out for the newest") from error
    except (LocalEntryNotFoundError, ConnectionError) as error:
        cause = error.__cause__ or error
        start = f"{wanted}: there is no such folder, nor such a run in the cache, and"
        if isinstance(cause, OfflineModeIsEnabled):
            raise VsrError(f"{start} downloads are off (HF_HUB_OFFLINE); check the name, or unset it") from error
        raise VsrError(
            f"{start} the Hugging Face Hub cannot be reached ({hub_reason(cause)}); check the name, the connection and "
            "HF_ENDPOINT"
        ) from error
    except (OSError, HTTPError, ValueError, RuntimeError) as error:
        if _refused(error):
            raise VsrError(f"{wanted}: no access ({hub_reason(error)}); {login} with one that may read it") from error
        raise VsrError(
            f"{wanted}: downloading it failed ({hub_reason(error)}); run the same command again, which skips complete "
            "files"
        ) from error
