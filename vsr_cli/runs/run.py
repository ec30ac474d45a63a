"""The run folder: the files of a trained model, which need neither the network nor the original data.

config.json       the complete configuration: component names, never import paths
run.json          status, command line, random seed, versions, prepared data, plugin distributions, and the checksums of
                  the files that are written once: frozen weights and assets
assets/PART/      files that a component needs besides weights (a tokenizer, a backbone's configuration)
frozen.safetensors, checkpoints/{last,best}/model.safetensors    the frozen weights, and the trained ones
frozen-{visual,text}.safetensors    the frozen half of an encoder, if it is stored by itself: perhaps a hard link to the
                                    cache's, so that it is replaced and never written to
checkpoints/last/state.{json,safetensors}    the rest of the training state, for a bit-exact resumption
checkpoints/*/checksums.json    the checksums of a checkpoint's files, which are replaced together
history.jsonl     one line per epoch, each with a checksum, as every JSON file has one
curves.png        a chart of the history, drawn when training ends
evaluations/, predictions/
"""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..errors import VsrError, one_line
from ..files.atomic import link_or_copy, read_json, replacing, whole_folder, write_json
from ..files.checksums import file_checksum, read_checksums, verify_file
from ..files.links import refuse_links
from ..files.locks import exclusive_lock
from ..files.strict_json import sealed, to_json
from ..plugin.faults import fault_of
from ..plugin.kinds import ENCODERS
from .history import summary_record, watched_loss

if TYPE_CHECKING:
    from ..api import FrozenHalf

FORMAT = 3
RUNS = Path("runs")
"""The folder in which runs are made unless another is named."""
FOLDS = "folds.json"
"""In a folder that holds one run per fold: the request of the cross-validation. Such a folder is no run itself."""
FROZEN, WEIGHTS = "frozen.safetensors", "model.safetensors"
"""The file of the frozen weights, in the run folder, and that of the trained ones, in each checkpoint."""
HALVES = {section: f"frozen-{section}.safetensors" for section in ENCODERS}
"""The files of the frozen halves of encoders that are stored by themselves, by section."""
WRITTEN = ("config.json", "run.json", "history.jsonl", "curves.png", FROZEN, *HALVES.values())
OWNED = (*WRITTEN, "assets", "checkpoints", "evaluations", "predictions")
"""All entries of a run folder that vsr writes; it leaves others alone."""
REMEDY = "restore it from a copy, or train anew"
STATE = ("state.json", "state.safetensors")
"""The files that only the last checkpoint has: the training state besides weights."""


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
        """The folder of the components' files other than weights."""
        return self.folder / "assets"

    @property
    def history(self) -> Path:
        """The file with one JSON object per epoch."""
        return self.folder / "history.jsonl"

    @property
    def checkpoints(self) -> Path:
        """The folder in which the checkpoints "last" and "best" are written."""
        return self.folder / "checkpoints"

    def checkpoint(self, which: str) -> Path:
        """Return the folder to read a checkpoint from, "last" or "best"; if it exists, it is complete."""
        return whole_folder(self.checkpoints / which)

    def which_checkpoint(self, which: str = "best") -> str:
        """Return the checkpoint to read where `which` is requested: "last" where there is no best one."""
        return which if self.checkpoint(which).is_dir() else "last"

    def weights_digest(self, which: str = "best") -> str:
        """Return the digest of all weights of a checkpoint, which identifies the model behind a result.

        It is computed from the recorded checksums, so no weight is read.
        Raises VsrError if there is no such checkpoint, or its checksums cannot be read.
        """
        checkpoint = self.checkpoint(self.which_checkpoint(which))
        trained = read_checksums(checkpoint, remedy=REMEDY).get(WEIGHTS)
        recorded = self._checksums()
        frozen = " ".join(recorded[name] for name in (FROZEN, *HALVES.values()) if name in recorded)
        if not trained or not frozen:
            raise VsrError(f"{self.folder}: its weights have no checksums; {REMEDY}")
        return hashlib.sha256(f"{frozen} {trained}".encode()).hexdigest()[:16]

    def verify(self, which: str) -> None:
        """Check the checksums of the frozen weights, the assets and a checkpoint.

        A file is read once per process. Raises VsrError, naming the first file that is missing or damaged.
        """
        for path, checksum, remedy in self.checksums(which):
            verify_file(path, checksum, remedy=remedy)

    def checksums(self, which: str) -> list[tuple[Path, str, str]]:
        """Return, for each file of a checkpoint, its path, its checksum, and the remedy if it is damaged."""
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
        """Write the checksums of the frozen weights and of all assets into run.json."""
        halves = [path for path in map(self.folder.joinpath, HALVES.values()) if path.exists()]
        files = [self.folder / FROZEN, *halves, *sorted(path for path in self.assets.rglob("*") if path.is_file())]
        self.update(checksums={path.relative_to(self.folder).as_posix(): file_checksum(path) for path in files})

    def record_halves(self, halves: Mapping[str, FrozenHalf]) -> dict[str, FrozenHalf]:
        """Store frozen halves of encoders, by section, as links or copies, and return them in this folder."""
        stored = {}
        for section, name in HALVES.items():
            (self.folder / name).unlink(missing_ok=True)
            if half := halves.get(section):
                with replacing(self.folder / name) as temporary:
                    link_or_copy(half.weights, temporary)
                stored[section] = replace(half, weights=self.folder / name, initial=None)
        self.update(
            frozen={
                section: {
                    "key": half.cache_key,
                    "shape": list(half.shape),
                    "parameters": half.parameters,
                    "facts": dict(half.facts),
                }
                for section, half in stored.items()
            }
        )
        return stored

    def frozen_halves(self) -> dict[str, FrozenHalf]:
        """Return the frozen halves of encoders that are stored by themselves, by section; none in an older run."""
        from ..api import FrozenHalf  # imports pydantic, which a list of runs does without

        recorded = self.facts().get("frozen", {})
        return {
            section: FrozenHalf(
                weights=self.folder / HALVES[section],
                cache_key=about["key"],
                shape=tuple(about["shape"]),
                parameters=about["parameters"],
                facts=about["facts"],
            )
            for section, about in recorded.items()
            if section in HALVES
        }

    def _checksums(self) -> dict[str, str]:
        found = self.facts().get("checksums")
        if not isinstance(found, dict) or FROZEN not in found:
            raise VsrError(f"{self.folder / 'run.json'}: holds no checksums of the weights; {REMEDY}")
        return found

    def config(self) -> dict[str, Any]:
        """Read config.json. Raises VsrError if the folder is not a run."""
        return self._read("config.json", ("training",))

    def facts(self) -> dict[str, Any]:
        """Read run.json. Raises VsrError if the folder is not a run, or one of another format."""
        return self._read("run.json", ("format", "status", "started", "data"))

    def update(self, **facts: Any) -> None:
        """Change some entries of run.json."""
        write_json(self.folder / "run.json", {**self.facts(), **facts})

    def finish(self, *, epochs: int) -> None:
        """Record in run.json that so many epochs are trained, with a summary of the history for lists of runs."""
        history = summary_record(self.history, watched_loss(self.config()))
        self.update(status="finished", ended=now(), epochs_trained=epochs, history=history)

    @contextmanager
    def recording_failure(self) -> Iterator[None]:
        """Record in run.json that the block failed or was interrupted, and why, in one line."""
        try:
            yield
        except BaseException as error:
            signaled = _signal_of(error)
            problem = f"interrupted by {signaled}" if signaled else _reason(error)
            with suppress(OSError):  # a full disk, perhaps; the error that is raised says more
                self.update(status="interrupted" if signaled else "failed", ended=now(), problem=problem)
            raise

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the run's lock. Raises VsrError if another process trains this run, or if a link is in the folder."""
        busy = f"{self.folder}: another process is training this run; wait for it, or stop it first"
        with exclusive_lock(self.folder, busy=busy):
            self.refuse_links()
            yield

    def refuse_links(self) -> None:
        """Raise VsrError if an entry that vsr writes is a link or a special file. To be called before writing."""
        refuse_links(self.folder, OWNED)

    def append_history(self, row: Mapping[str, Any]) -> int:
        """Add a line to history.jsonl and return the file's length in bytes. Raises VsrError if it cannot be written.

        The file is replaced, so that a kill leaves no half line, and a copy made of hard links does not change.
        """
        before = self.history.read_bytes() if self.history.exists() else b""
        try:
            with replacing(self.history, to_disk=True) as temporary:
                temporary.write_bytes(before + to_json(sealed(row)).encode() + b"\n")
        except OSError as error:
            raise VsrError(
                f"{self.history}: cannot be written ({error.strerror}); free some space, then resume with "
                f"'vsr train --resume {self.folder}'"
            ) from error
        return self.history.stat().st_size

    def epochs_trained(self) -> int:
        """Return how many epochs history.jsonl has at least. Raises VsrError as `facts` does."""
        return int(self.facts().get("epochs_trained", 0))

    def cut_history(self, length: int) -> None:
        """Truncate history.jsonl to its length in bytes at a checkpoint. Raises VsrError if it is shorter."""
        content = self.history.read_bytes() if self.history.exists() else b""
        if len(content) < length:
            raise VsrError(
                f"{self.history}: is damaged, it has {len(content)} bytes of the {length} that it had at the last "
                f"checkpoint; {REMEDY}"
            )
        if len(content) > length:
            with replacing(self.history, to_disk=True) as temporary:
                temporary.write_bytes(content[:length])

    def _read(self, name: str, required: tuple[str, ...]) -> dict[str, Any]:
        try:
            found = read_json(self.folder / name, what="a run of vsr (a folder that 'vsr train' wrote)")
        except VsrError as error:
            if name != "run.json" or not (self.folder / FOLDS).is_file():
                raise
            raise VsrError(
                f"{self.folder}: holds one run per fold; name one of them, such as {self.folder / 'fold-1'}, or see "
                f"their common scores with 'vsr report {self.folder}'"
            ) from error
        if found.get("format", FORMAT) != FORMAT:
            raise VsrError(
                f"{self.folder}: run of format {found['format']}, this vsr {__version__} reads {FORMAT}; train anew, "
                "or install the version of vsr that wrote it"
            )
        if missing := [key for key in required if key not in found]:
            raise VsrError(f"{self.folder / name}: is not that of a run of vsr, it lacks {', '.join(missing)}")
        return found


def now() -> str:
    """Return the local time with its offset, as all files record it."""
    return datetime.now().astimezone().isoformat(timespec="microseconds")


def _signal_of(error: BaseException) -> str | None:
    """Return the name of the signal that an exception stands for; None if it stands for none."""
    if isinstance(error, KeyboardInterrupt):
        return "SIGINT"
    if isinstance(error, SystemExit) and error.code in {128 + each for each in signal.Signals}:
        return signal.Signals(int(error.code) - 128).name
    return None


def _reason(error: BaseException) -> str:
    """Return in one line why the work failed: the text of a VsrError; of another error, its type too."""
    if isinstance(error, VsrError):
        return "; ".join(str(error).splitlines())
    if (fault := fault_of(error)) is not None:
        return str(fault)
    if isinstance(error, SystemExit):
        return f"ended with exit code {error.code}"
    kind, words = type(error).__name__, one_line(error)
    return kind if words == kind else f"{kind}: {words}"
