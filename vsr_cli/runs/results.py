"""Stored evaluations: reading and locking them. docs/reference/evaluation.md describes the files.

A folder is written as a whole (`evaluation/storage.py`), with the checksum of every file in it, so that what is read
together was written together. A result belongs to the weights that it scored: `stale` says whether the run still has
them.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import VsrError
from ..files.atomic import read_json, sweep, whole_folder
from ..files.checksums import read_checksums, verify_file
from ..files.links import refuse_links
from ..files.locks import exclusive_lock
from ..system_errors import refuse_system_error
from .history import read_history
from .prediction_lines import PredictionLines
from .run import Run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EVALUATIONS = "evaluations"
RESULT, PREDICTIONS, STATISTICS, LEAKS = "result.json", "predictions.jsonl", "statistics.safetensors", "leaks.jsonl"
PICTURES, STORYBOARDS = "predictions", "storyboards.png"
WRITTEN = (RESULT, PREDICTIONS, STATISTICS, LEAKS, STORYBOARDS, PICTURES)
FORMAT = 3
"""Of result.json; it goes up when its keys, or the names of metrics or baselines, change."""
WHAT = "an evaluation of this version of vsr"
WANTED = {
    "run",
    "data",
    "signature",
    "checkpoint",
    "split",
    "stories",
    "windows",
    "cautions",
    "leaks",
    "metrics",
    "copied",
}
ON = "-on-"
"""In the name of an evaluation of other data than the run's own, before the name of that data."""
SHORT = 8
"""Digits of a digest in messages and signatures."""

Verdict = Literal["significantly better", "significantly worse", "not significant"]
BETTER: Verdict = "significantly better"
WORSE: Verdict = "significantly worse"
NOT_SIGNIFICANT: Verdict = "not significant"


@dataclass(frozen=True)
class Evaluated:
    """The evaluation of one split, of a run or of external predictions."""

    place: Path
    """The folder that the user named: a run, what `vsr score` wrote, or the evaluation's own folder."""
    run: Path
    """The run, or the folder that `vsr score` wrote."""
    folder: Path
    """The folder of its files."""
    result: Mapping[str, Any]

    @property
    def split(self) -> str:
        """The split that was scored."""
        return str(self.result["split"])

    @property
    def label(self) -> str:
        """The name of the evaluation among those of its run: the split, and the decoding if it is not the run's own."""
        return self.folder.name.removeprefix(".").removesuffix(".new")

    @property
    def name(self) -> str:
        """The run's own name, and the evaluation's where it is not the split's plain one."""
        run = self.run.resolve().name
        return run if self.label == self.split else f"{run}, {self.label}"

    @property
    def facts(self) -> dict[str, str]:
        """The fields of the signature by name."""
        return dict(part.partition(":")[::2] for part in str(self.result["signature"]).split("|"))

    @property
    def available(self) -> dict[str, dict[str, Any]]:
        """The metrics that could run, by name."""
        return {name: cell for name, cell in self.result["metrics"].items() if "unavailable" not in cell}

    @cached_property
    def stale(self) -> str | None:
        """Why the result does not belong to the run's present weights, with a remedy; None where it does.

        External predictions have no weights, and a run without checkpoints cannot have others.
        Raises VsrError if the run's checksums cannot be read.
        """
        run = Run(self.run)
        if not (run.folder / "run.json").exists() or not run.checkpoint(run.which_checkpoint()).is_dir():
            return None
        scored, now = self.result["checkpoint"], run.weights_digest()
        if scored == now:
            return None
        of = f"checkpoint {scored[:SHORT]}" if scored else "no checkpoint of it"
        return (
            f"{self.folder}: is stale: it scored {of}, and the best one of {run.folder} is now {now[:SHORT]}; "
            f"evaluate again with '{self.command}'"
        )

    @property
    def command(self) -> str:
        """The command that repeats the evaluation."""
        words = ["vsr", "evaluate", "--run", str(self.run), "--split", self.split]
        if self.result["data"] != Run(self.run).facts().get("data"):
            words += ["--data", self.result["data"]]
        decoding = dict(self.result["decoding"] or {})
        if decoding and self.label.partition(ON)[0] != self.split:
            words += ["--decoding", decoding.pop("method")]
            words += [f"--set=decoding.{name}={value}" for name, value in decoding.items()]
        words += ["--allow-train"] if self.split == "train" else []
        return shlex.join([*words, "--metrics", *self.result["metrics"]])

    def is_of(self, data: Path, fingerprint: str) -> bool:
        """Whether it is of this folder of prepared data, as it is or was, or of a copy of it."""
        return self.result["data"] == str(data.resolve()) or fingerprint.startswith(self.facts.get("data", " "))

    @property
    def is_named_other(self) -> bool:
        """Whether its name says that it is of other data than the run's own."""
        return ON in self.label

    @property
    def other_data(self) -> str | None:
        """Why the result is of other data than the run was trained on, or of data that changed; None otherwise."""
        scored = self.facts.get("data", "")
        config = self.configuration() or {}
        trained_on = str(config.get("data", {}).get("fingerprint", scored))
        if not trained_on.startswith(scored):
            return f"{self.folder}: scored other data ({self.result['data']}) than {self.run} was trained on"
        manifest = Path(self.result["data"]) / "manifest.json"
        now = read_json(manifest, what="prepared data").get("fingerprint") if manifest.exists() else scored
        if not str(now).startswith(scored):
            return f"{self.folder}: scored {self.result['data']} as it was before it was prepared anew"
        return None

    def predictions(self) -> PredictionLines:
        """Open the scored windows, in order. Raises VsrError if they cannot be read."""
        return PredictionLines(self._verified(PREDICTIONS), remedy=self.remedy)

    def predicted_image(self, number: int) -> Path | None:
        """Return the path of the predicted image of a window, None where none was predicted."""
        name = f"{PICTURES}/{number:04d}.jpg"
        return self._verified(name) if name in self._checksums else None

    def statistics(self) -> dict[str, NDArray[np.float64]]:
        """Read what the metrics measured, (W, S) by "METRIC/model" and "METRIC/BASELINE". Raises VsrError on damage."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        path = self._verified(STATISTICS)
        try:
            return load_file(path)
        except (OSError, SafetensorError) as error:
            refuse_system_error(error, path)
            raise VsrError(f"{path}: cannot be read ({error}); {self.remedy}") from error

    def history(self) -> list[dict[str, Any]]:
        """Read the losses of each epoch; none without a run. Raises VsrError if the history is damaged."""
        run = Run(self.run)
        return read_history(run.history, epochs=run.epochs_trained() if (self.run / "run.json").exists() else 0)

    def configuration(self) -> dict[str, Any] | None:
        """Read the run's configuration; None without a run."""
        return Run(self.run).config() if (self.run / "config.json").exists() else None

    @property
    def remedy(self) -> str:
        """The remedy where a file is missing or damaged."""
        return f"evaluate the {self.split} split of {self.place} again"

    def files(self) -> list[tuple[Path, str, str]]:
        """Return the path of each file, its checksum, and the remedy if it is damaged."""
        return [(self.folder / name, checksum, self.remedy) for name, checksum in self._checksums.items()]

    @cached_property
    def _checksums(self) -> dict[str, str]:
        return read_checksums(self.folder, remedy=self.remedy)

    def _verified(self, name: str) -> Path:
        """Return the path of a file after verifying its checksum."""
        verify_file(self.folder / name, self._checksums.get(name, "none"), remedy=self.remedy)
        return self.folder / name


def open_evaluated(place: Path, split: str, *, data: Path | None = None) -> Evaluated:
    """Open a run's evaluation of a split, or the one whose own folder `place` is, whatever its split.

    That of the run's own data, unless it has one of `data`: the latter may also be where the own data is now.
    Raises VsrError if there is none, it is damaged, of another version, or stale.
    """
    if not place.is_dir():
        raise VsrError(f"{place}: there is no such folder; name a run, or what 'vsr score' wrote")
    itself = (whole_folder(place) / RESULT).exists()
    run = place.absolute().parents[1] if itself else place
    folder = whole_folder(place if itself else evaluations_of(place) / split)
    if data is not None and not itself:
        folder = _of_data(place, split, data)
    if not (folder / RESULT).exists():
        raise VsrError(
            f"{place}: has no evaluation of the {split} split{_there(place)}; "
            f"'vsr evaluate --run {place} --split {split}' creates one"
        )
    evaluated = _read(place, run, folder, split)
    if evaluated.stale:
        raise VsrError(evaluated.stale)
    return evaluated


def read_stored(run: Path, folder: Path) -> Evaluated | None:
    """Read the evaluation in a folder of a run, stale or not; None where there is none.

    Raises VsrError if it is damaged or of another version.
    """
    whole = whole_folder(folder)
    return _read(run, run, whole, folder.name) if (whole / RESULT).exists() else None


def all_stored(run: Path) -> Iterator[Evaluated | VsrError]:
    """Yield the evaluations of a run, stale or not, and the error for each that cannot be read."""
    for folder in _folders(run):
        try:
            found = read_stored(run, folder)
            assert found, f"{folder} has a result"
            yield found
        except VsrError as error:
            yield error


@contextmanager
def lock_evaluation(folder: Path) -> Iterator[None]:
    """Lock the evaluation PLACE/evaluations/NAME against other processes, from before it is computed.

    Raises VsrError if another one writes it already, or if the folder or anything in it is a link.
    """
    evaluations = folder.parent
    refuse_links(evaluations.parent, [evaluations.name], below=False)
    refuse_links(evaluations, [folder.name])
    with exclusive_lock(
        folder, busy=f"{folder}: another process is writing this evaluation; wait for it, or stop it first"
    ):
        sweep(folder, names=WRITTEN)
        yield


def name_of_data(data: Path) -> str:
    """Return the name of other data than a run's own, in the name of an evaluation of it."""
    return re.sub(r"[^\w.=,+-]", "_", data.resolve().name)  # what `runs/hub.py` takes for an evaluation


def names_on(name: str, data: Path, fingerprint: str) -> tuple[str, str]:
    """Return the name of an evaluation on other data than the run's own, and the one where that is taken.

    It is taken where it holds an evaluation of another folder of the same name, with other content.
    """
    plain = f"{name}{ON}{name_of_data(data)}"
    return plain, f"{plain}-{fingerprint[:8]}"


def evaluations_of(run: Path) -> Path:
    """Return the folder of the evaluations of a run or of external predictions."""
    return run / EVALUATIONS


def _folders(run: Path) -> list[Path]:
    """Return the folders of evaluations, by their final names even where writing was interrupted."""
    named = {
        found.with_name(found.name.removeprefix(".").removesuffix(".new"))
        for found in evaluations_of(run).glob("*")
        if not found.name.startswith(".") or found.name.endswith(".new")
    }
    return sorted(folder for folder in named if (whole_folder(folder) / RESULT).exists())


def _of_data(run: Path, split: str, data: Path) -> Path:
    """Return the folder of the evaluation of a split of prepared data. Raises VsrError if there is none."""
    fingerprint = str(read_json(data / "manifest.json", what="prepared data").get("fingerprint"))
    for name in (split, *names_on(split, data, fingerprint)):
        folder = evaluations_of(run) / name
        if (stored := read_stored(run, folder)) and fingerprint.startswith(stored.facts.get("data", " ")):
            return whole_folder(folder)
    raise VsrError(
        f"{run}: has no evaluation of the {split} split of {data} as it is now{_there(run)}; "
        f"'vsr evaluate --run {run} --split {split} --data {data}' creates one"
    )


def _there(run: Path) -> str:
    """Return which evaluations a run has, for an error."""
    names = [found.name for found in _folders(run)]
    how = "; --data DIR reads that of other data" if any(ON in name for name in names) else ""
    return f" (it has: {', '.join(names)}{how})" if names else ""


def _read(place: Path, run: Path, folder: Path, split: str) -> Evaluated:
    remedy = f"evaluate the {split} split of {place} again"
    path = folder / RESULT
    result = read_json(path, what=WHAT)
    if not isinstance(result, dict) or not set(result) >= WANTED:
        raise VsrError(f"{path}: is not {WHAT}; {remedy}")
    if result.get("format") != FORMAT:
        raise VsrError(f"{path}: was written by another version of vsr; {remedy}")
    verify_file(path, read_checksums(folder, remedy=remedy).get(RESULT, "none"), remedy=remedy)
    return Evaluated(place, run, folder, result)
