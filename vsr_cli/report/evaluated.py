"""An evaluation as it lies on disk, read back for pages and comparisons. docs/evaluation.md describes its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import VsrError
from ..files import read_json
from ..run import Run
from ..strict_json import from_json
from ..system_errors import refuse_system_error

EVALUATIONS = "evaluations"
RESULT, PREDICTIONS, STATISTICS, PICTURES = "result.json", "predictions.jsonl", "statistics.safetensors", "predictions"
WHAT = "an evaluation of this version of vsr"


@dataclass(frozen=True)
class Evaluated:
    """The evaluation of one split, of a run or of predictions that `vsr score` was given."""

    place: Path
    """What was named: the run, or the folder that `vsr score` wrote, or the evaluation's own folder."""
    run: Path
    """The run, or the folder that `vsr score` wrote."""
    folder: Path
    """Where its files are."""
    result: Mapping[str, Any]

    @property
    def split(self) -> str:
        """The split that was scored."""
        return str(self.result["split"])

    @property
    def name(self) -> str:
        """The run's own name, and the evaluation's where it is not the split's plain one."""
        run, own = self.run.resolve().name, self.folder.name
        return run if own == self.split else f"{run}, {own}"

    @property
    def facts(self) -> dict[str, str]:
        """The signature's parts by name."""
        return dict(part.partition(":")[::2] for part in str(self.result["signature"]).split("|"))

    @property
    def available(self) -> dict[str, dict[str, Any]]:
        """The metrics that could run, by name."""
        return {name: cell for name, cell in self.result["metrics"].items() if "unavailable" not in cell}

    def predictions(self) -> list[dict[str, Any]]:
        """Read the scored windows, in their order. Raises VsrError if they cannot be read."""
        path = self.folder / PREDICTIONS
        try:
            return [from_json(line) for line in path.read_text(encoding="utf-8").splitlines()]
        except (OSError, ValueError) as error:
            refuse_system_error(error, path)
            raise VsrError(f"{path}: cannot be read ({error}); {self.remedy}") from error

    def picture(self, number: int) -> Path:
        """Give the path of the predicted picture of a window; it is not there where none was predicted."""
        return self.folder / PICTURES / f"{number:04d}.jpg"

    def statistics(self) -> dict[str, NDArray[np.float64]]:
        """Read what the metrics measured: (W, S) by "METRIC/model" and "METRIC/FLOOR". Raises VsrError if it cannot."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        path = self.folder / STATISTICS
        try:
            return load_file(path)
        except (OSError, SafetensorError) as error:
            refuse_system_error(error, path)
            raise VsrError(f"{path}: cannot be read ({error}); {self.remedy}") from error

    def history(self) -> list[dict[str, Any]]:
        """Read the losses of each epoch; none where this is no run."""
        path = Run(self.run).history
        if not path.exists():
            return []
        try:
            return [from_json(line) for line in path.read_text(encoding="utf-8").splitlines()]
        except (OSError, ValueError) as error:
            refuse_system_error(error, path)
            raise VsrError(f"{path}: cannot be read ({error}); restore it, or remove it to do without") from error

    def configuration(self) -> dict[str, Any] | None:
        """Read the run's configuration; None where this is no run."""
        return Run(self.run).config() if (self.run / "config.json").exists() else None

    @property
    def remedy(self) -> str:
        """What to do where a file is missing or damaged."""
        return f"evaluate the {self.split} split of {self.place} again"


def open_evaluated(place: Path, split: str) -> Evaluated:
    """Open a run's evaluation of a split, or the one whose own folder `place` is, whatever its split.

    Raises VsrError if there is none, or it is not of this version.
    """
    if not place.is_dir():
        raise VsrError(f"{place}: there is no such folder; name a run, or what 'vsr score' wrote")
    itself = (place / RESULT).exists()
    run, folder = (place.absolute().parents[1], place) if itself else (place, place / EVALUATIONS / split)
    path = folder / RESULT
    if not path.exists():
        there = sorted(found.parent.name for found in place.glob(f"{EVALUATIONS}/*/{RESULT}"))
        others = f" (there: {', '.join(there)})" if there else ""
        raise VsrError(
            f"{place}: holds no evaluation of the {split} split{others}; "
            f"'vsr evaluate --run {place} --split {split}' makes one"
        )
    result = read_json(path, what=WHAT)
    wanted = {"run", "data", "signature", "split", "stories", "windows", "leaks", "metrics"}
    if not isinstance(result, dict) or not wanted <= set(result):
        raise VsrError(f"{path}: is not {WHAT}; evaluate the {split} split of {place} again")
    return Evaluated(place, run, folder, result)
