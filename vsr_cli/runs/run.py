"""The run folder: everything that a trained model is, in files that need no network and no original data.

config.json       the complete configuration: registry names, never import paths
run.json          status, command line, seed, versions, prepared data, plugin distributions, and the checksums of
                  what is written once: the frozen weights and the assets
assets/PART/      what a part needs beside weights (a tokenizer, a backbone's configuration)
frozen.safetensors, checkpoints/{last,best}/model.safetensors    the weights that never change, and those that do
checkpoints/last/state.{json,safetensors}    what else training needs to go on exactly where it was
checkpoints/*/checksums.json    the checksums of a checkpoint's files, which are replaced together
history.jsonl     one line an epoch, each with a checksum, as every JSON file has one
curves.png        the same to look at, drawn when training ends
evaluations/, predictions/
"""

from __future__ import annotations

import hashlib
import platform
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import VsrError, one_line
from ..files.atomic import is_empty, is_temporary, read_json, remove, replacing, sweep, whole_folder, write_json
from ..files.checksums import file_checksum, read_checksums, verify_file
from ..files.links import refuse_links
from ..files.locks import alone_in
from ..files.strict_json import sealed, to_json
from ..plugin.faults import fault_of

RUNS = Path("runs")
FORMAT = 2
FOLDS = "folds.json"
"""In a folder of several runs, a fold each: what was asked for. Such a folder is no run itself."""
FROZEN, WEIGHTS = "frozen.safetensors", "model.safetensors"
"""The file of the weights that never change, in the run folder, and that of all others, in each checkpoint."""
WRITTEN = ("config.json", "run.json", "history.jsonl", "curves.png", FROZEN)
OWNED = (*WRITTEN, "assets", "checkpoints", "evaluations", "predictions")
"""What vsr writes in a run folder: the files, and these with the folders. All else there is somebody else's."""
REMEDY = "restore it from a copy, or train anew"
STATE = ("state.json", "state.safetensors")
"""The files that only the last checkpoint holds: what else training needs to go on."""


@dataclass(frozen=True)
class Run:
    """A run folder."""

    folder: Path

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def assets(self) -> Path:
        """Where the parts keep what they need beside weights."""
        return self.folder / "assets"

    @property
    def history(self) -> Path:
        """One JSON object a line: an epoch's losses."""
        return self.folder / "history.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Where the checkpoints "last" and "best" are written."""
        return self.folder / "checkpoints"

    def checkpoint(self, which: str) -> Path:
        """Return the folder to read a checkpoint from, "last" or "best"; it is whole if it is there."""
        return whole_folder(self.checkpoints / which)

    def which_checkpoint(self, which: str = "best") -> str:
        """Return the name of the checkpoint that is read when `which` is asked for: "last" where there is no best."""
        return which if self.checkpoint(which).is_dir() else "last"

    def weights_digest(self, which: str = "best") -> str:
        """Return the digest of all weights of a checkpoint, which names what a result was computed for.

        It is made of the checksums that were recorded when the weights were written, so no weight is read.
        Raises VsrError if the run has no such checkpoint, or its checksums cannot be read.
        """
        checkpoint = self.checkpoint(self.which_checkpoint(which))
        trained = read_checksums(checkpoint, remedy=REMEDY).get(WEIGHTS)
        frozen = self._checksums().get(FROZEN)
        if not trained or not frozen:
            raise VsrError(f"{self.folder}: its weights have no checksums; {REMEDY}")
        return hashlib.sha256(f"{frozen} {trained}".encode()).hexdigest()[:16]

    def verify(self, which: str) -> None:
        """Check that the frozen weights, the assets and a checkpoint are as they were written.

        A file is read once per process. Raises VsrError, naming the first file that is missing or damaged.
        """
        for path, checksum, remedy in self.checksums(which):
            verify_file(path, checksum, remedy=remedy)

    def checksums(self, which: str) -> list[tuple[Path, str, str]]:
        """Return the path of each file that belongs to a checkpoint, its checksum, and what to do if it is damaged."""
        once = [(self.folder / name, checksum, REMEDY) for name, checksum in self._checksums().items()]
        checkpoint = self.checkpoint(which)
        written = read_checksums(checkpoint, remedy=REMEDY)
        missing = {WEIGHTS, *(STATE if which == "last" else ())} - written.keys()
        if missing:
            raise VsrError(f"{checkpoint}: has no checksum of {', '.join(sorted(missing))}; {REMEDY}")
        remedy = REMEDY
        if which == "last" and self.checkpoint("best").is_dir():
            remedy += f"; 'vsr evaluate' and 'vsr predict' read {self.checkpoint('best')}"
        return once + [(checkpoint / name, checksum, remedy) for name, checksum in written.items()]

    def record_checksums(self) -> None:
        """Write into run.json the checksums of the frozen weights and of all assets, once these are written."""
        files = [self.folder / FROZEN, *sorted(path for path in self.assets.rglob("*") if path.is_file())]
        self.update(checksums={path.relative_to(self.folder).as_posix(): file_checksum(path) for path in files})

    def _checksums(self) -> dict[str, str]:
        found = self.facts().get("checksums")
        if not isinstance(found, dict) or FROZEN not in found:
            raise VsrError(f"{self.folder / 'run.json'}: holds no checksums of the weights; {REMEDY}")
        return found

    def config(self) -> dict[str, Any]:
        """Read config.json. Raises VsrError if the folder is not a run."""
        config = self._read("config.json")
        self._require(config, "config.json", ("training",))
        return config

    def facts(self) -> dict[str, Any]:
        """Read run.json. Raises VsrError if the folder is not a run or its format is newer than this program."""
        facts = self._read("run.json")
        if facts.get("format") != FORMAT:
            raise VsrError(
                f"{self.folder}: run of format {facts.get('format')}, this vsr {__version__} reads {FORMAT}; "
                "install the version of vsr that made it"
            )
        self._require(facts, "run.json", ("status", "started", "data"))
        return facts

    def update(self, **facts: Any) -> None:
        """Change some facts in run.json."""
        write_json(self.folder / "run.json", {**self.facts(), **facts})

    @contextmanager
    def recording_failure(self) -> Iterator[None]:
        """Write into run.json that the work did not end well, and in one line why."""
        try:
            yield
        except BaseException as error:
            signaled = _signal_of(error)
            problem = f"interrupted by {signaled}" if signaled else _reason(error)
            with suppress(OSError):  # a full disk, perhaps, of which the error that ended the work tells more
                self.update(status="interrupted" if signaled else "failed", ended=now(), problem=problem)
            raise

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from training this run. Raises VsrError if one does so already, or for a link in it."""
        busy = f"{self.folder}: another process is training this run; wait for it, or stop it first"
        with alone_in(self.folder, busy=busy):
            self.refuse_links()
            yield

    def refuse_links(self) -> None:
        """Raise VsrError if something that vsr writes in the run folder is a link. To be called before writing."""
        refuse_links(self.folder, OWNED)

    def append_history(self, row: Mapping[str, Any]) -> int:
        """Add a line to history.jsonl and return its length, in bytes. Raises VsrError if it cannot be written.

        The file is replaced, so that neither a kill leaves half a line nor a copy by hard links gets the line too.
        """
        before = self.history.read_bytes() if self.history.exists() else b""
        try:
            with replacing(self.history, to_disk=True) as temporary:
                temporary.write_bytes(before + to_json(sealed(row)).encode() + b"\n")
        except OSError as error:
            raise VsrError(
                f"{self.history}: cannot be written ({error.strerror}); free some space, then go on with "
                f"'vsr train --resume {self.folder}'"
            ) from error
        return self.history.stat().st_size

    def epochs_trained(self) -> int:
        """Return how many epochs history.jsonl has at least. Raises VsrError as `facts` does."""
        return int(self.facts().get("epochs_trained", 0))

    def cut_history(self, length: int) -> None:
        """Cut history.jsonl to its first bytes, as many as it had at a checkpoint.

        Raises VsrError if it has fewer.
        """
        kept = self.history.read_bytes() if self.history.exists() else b""
        if len(kept) < length:
            raise VsrError(
                f"{self.history}: is damaged, it has {len(kept)} bytes of the {length} that it had at the last "
                "checkpoint; restore it from a copy, or train anew"
            )
        if len(kept) > length:
            with replacing(self.history, to_disk=True) as temporary:
                temporary.write_bytes(kept[:length])

    def _read(self, name: str) -> dict[str, Any]:
        if name == "run.json" and (self.folder / FOLDS).is_file():
            raise VsrError(
                f"{self.folder}: holds a run for each of several folds; name one of them, such as "
                f"{self.folder / 'fold-1'}, or see what they score together with 'vsr report {self.folder}'"
            )
        return read_json(self.folder / name, what="a run of vsr (a folder that 'vsr train' wrote)")

    def _require(self, value: Mapping[str, Any], name: str, keys: Sequence[str]) -> None:
        missing = [key for key in keys if key not in value]
        if missing:
            raise VsrError(f"{self.folder / name}: is not that of a run of vsr, it lacks {', '.join(missing)}")


@contextmanager
def created_run(
    folder: Path | None, *, config: dict[str, Any], data: Path, distributions: Mapping[str, str]
) -> Iterator[Run]:
    """Make a run folder with its configuration, before anything heavy is imported, and hold its lock in the block.

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
    """Make a folder of this name under runs/, with a number behind the name if another process has just done so."""
    number = 1
    while True:
        folder = RUNS / (name if number == 1 else f"{name}_{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return folder


def _signal_of(error: BaseException) -> str | None:
    """Return the name of the signal that an exception stands for; None if it stands for none."""
    if isinstance(error, KeyboardInterrupt):
        return "SIGINT"
    if isinstance(error, SystemExit) and error.code in {128 + each for each in signal.Signals}:
        return signal.Signals(int(error.code) - 128).name
    return None


def _reason(error: BaseException) -> str:
    """Return in one line why work failed: a mistake's own words, of anything else its kind too."""
    if isinstance(error, VsrError):
        return "; ".join(str(error).splitlines())
    if (fault := fault_of(error)) is not None:
        return str(fault)
    if isinstance(error, SystemExit):
        return f"ended with exit code {error.code}"
    kind, words = type(error).__name__, one_line(error)
    return kind if words == kind else f"{kind}: {words}"


def _is_free(folder: Path) -> bool:
    """Whether nothing would be lost: an empty folder, or a run that ended before its first checkpoint.

    That is also one of which only the configuration is there: killed, or out of disk space, before run.json.
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
    """Open a run: the one named, or the newest finished one under runs/. Raises VsrError if there is none."""
    if folder is not None:
        run = Run(folder)
        if not folder.is_dir():
            raise VsrError(f"--run {folder}: there is no such folder; 'vsr train' makes one under {RUNS}/")
        run.config()
        if run.facts()["status"] not in ("finished", "interrupted"):
            raise VsrError(
                f"--run {folder}: its training has not finished (status: {run.facts()['status']}); "
                f"wait for it, or go on with 'vsr train --resume {folder}'"
            )
        return run
    finished = [run for run in map(Run, sorted(RUNS.glob("*"))) if _is_finished(run)]
    if not finished:
        raise VsrError(f"{RUNS}/: no finished run here; train one with 'vsr train', or name one with --run DIR")
    return max(finished, key=lambda run: str(run.facts()["ended"]))


def open_to_resume(folder: Path) -> Run:
    """Open a run that is to be trained on, however its training ended. Raises VsrError if the folder is not a run."""
    if not folder.is_dir():
        raise VsrError(f"--resume {folder}: there is no such folder; 'vsr train' makes runs under {RUNS}/")
    run = Run(folder)
    run.config()
    run.facts()
    return run


def remove_leftovers(run: Run) -> None:
    """Remove what a killed process has left half-written, and all that it had built where there is no checkpoint.

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
        return False  # something else that lies under runs/


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that results depend on."""
    names = (
        "torch",
        "torchvision",
        "transformers",
        "tokenizers",
        "accelerate",
        "datasets",
        "numpy",
        "pillow",
    )
    found = {"vsr": __version__, "python": platform.python_version()}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def now() -> str:
    """Return the local time with its offset, as every file has it."""
    return datetime.now().astimezone().isoformat(timespec="microseconds")
