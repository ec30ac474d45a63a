"""The plan of an ablation, from its axes to its cells, and the folder of its files.

ablation.json     the plan: every cell with all of its settings, the data, the split and the metrics
runs/CELL/        a run folder like any other
logs/CELL.log     the output of its training and evaluation
result.json, ablation.md, ablation.png      the comparison
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..config.experiment import TRAIN_SECTIONS
from ..errors import VsrError, nearest
from ..files.atomic import file_name, is_empty, read_json, write_json
from ..files.links import refuse_links
from ..files.locks import exclusive_lock
from ..files.strict_json import to_json

ABLATIONS = Path("ablations")
OWNED = ("ablation.json", "runs", "logs", "jobs", "result.json", "ablation.md", "ablation.png")
"""What vsr writes in the folder of an ablation."""
FORMAT = 1
WHAT = "a plan that 'vsr ablate' wrote"


SEED = "training.seed"
NAME = ".name"
"""The suffix of the setting that chooses a section's component."""
Values = dict[str, str]
"""The value of each setting that an ablation names."""


@dataclass(frozen=True)
class Axis:
    """A setting and its values, the first being the base's; a single value does not vary."""

    setting: str
    """E.g. "temporal.name" or "model.width"."""
    values: tuple[str, ...]

    @property
    def title(self) -> str:
        """Its name in tables; of a component, the section alone."""
        return self.setting.removesuffix(NAME)


def part_axes(parts: Mapping[str, Sequence[str]]) -> list[Axis]:
    """Return an axis for each section with names, {section: names}."""
    return [Axis(f"{section}{NAME}", tuple(names)) for section, names in parts.items() if names]


def grid_axes(words: Sequence[str]) -> list[Axis]:
    """Parse "section.key=value,value". Raises VsrError with all words that are malformed or no axis."""
    axes, mistakes = [], []
    for word in words:
        setting, equals, listed = word.partition("=")
        section, _, key = setting.strip().replace("-", "_").rpartition(".")
        values = tuple(dict.fromkeys(value.strip() for value in listed.split(",") if value.strip()))
        if not (equals and section and key and values):
            mistakes.append(f"--grid {word}: not of the form section.key=value,value, e.g. --grid model.width=128,256")
        elif section not in TRAIN_SECTIONS:
            mistakes.append(f"--grid {word}: section '{section}': unknown here; {nearest(section, TRAIN_SECTIONS)}")
        elif f"{section}.{key}" == SEED:
            mistakes.append(f"--grid {word}: seeds are not an axis, every combination has all of them; use --seeds N")
        else:
            axes.append(Axis(f"{section}.{key}", values))
    if mistakes:
        raise VsrError(*mistakes)
    return axes


def check_axes(axes: Sequence[Axis], assignments: Sequence[str]) -> None:
    """Raise VsrError if a setting is an axis twice, or both an axis and set for all runs."""
    settings = [axis.setting for axis in axes]
    if twice := [setting for setting in dict.fromkeys(settings) if settings.count(setting) > 1]:
        raise VsrError(f"{twice[0].removesuffix(NAME)}: is varied twice; name all of its values in one option")
    for text in assignments:
        setting = text.partition("=")[0].strip().replace("-", "_")
        if setting in settings:
            raise VsrError(f"--set {text}: {setting} is varied in this ablation; leave out one of the two")


def combinations(axes: Sequence[Axis], *, one_at_a_time: bool) -> list[Values]:
    """Return the combinations of values, the base first: all, or those that differ from the base in one value."""
    if one_at_a_time:
        base = {axis.setting: axis.values[0] for axis in axes}
        return [base, *(base | {axis.setting: value} for axis in axes for value in axis.values[1:])]
    settings = [axis.setting for axis in axes]
    return [dict(zip(settings, values, strict=True)) for values in itertools.product(*(axis.values for axis in axes))]


def label_of(values: Values, axes: Sequence[Axis]) -> str:
    """Return the label of a combination: component names, and other settings as "key=value"."""
    varied = [axis for axis in axes if len(axis.values) > 1]
    words = [
        values[axis.setting] if axis.setting.endswith(NAME) else f"{axis.setting}={values[axis.setting]}"
        for axis in varied
    ]
    return " ".join(words) or "default"


@dataclass(frozen=True)
class Combination:
    """One value of every axis."""

    label: str
    values: Mapping[str, str]
    """By title of the axis, including axes of one value."""


@dataclass(frozen=True)
class Cell:
    """One run of an ablation: a combination with a seed."""

    name: str
    """The name of its run folder and its log."""
    combination: int
    """Its index among the combinations."""
    seed: int
    settings: Mapping[str, Any]
    """The whole configuration, as a run's config.json has it."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that the result of an ablation depends on."""

    combinations: Sequence[Combination]
    """The first is the base, to which the others are compared."""
    cells: Sequence[Cell]
    """In the order of their execution: the first seed of every combination, then the second ones."""
    fingerprint: str
    """Of the prepared data."""
    split: str
    metrics: Sequence[str]
    metric_settings: Sequence[str]
    """As typed with --set."""

    def record(self) -> dict[str, Any]:
        """Return the plan for JSON."""
        return {
            "combinations": [asdict(combination) for combination in self.combinations],
            "cells": [asdict(cell) for cell in self.cells],
            "fingerprint": self.fingerprint,
            "split": self.split,
            "metrics": list(self.metrics),
            "metric_settings": list(self.metric_settings),
        }

    @property
    def digest(self) -> str:
        """The digest of the whole plan."""
        return hashlib.sha256(to_json(self.record(), sort_keys=True).encode()).hexdigest()[:16]

    @property
    def seeds(self) -> list[int]:
        """The random seeds of every combination."""
        return sorted({cell.seed for cell in self.cells})

    def title(self, cell: Cell) -> str:
        """Return a cell's name for messages."""
        return f"{self.combinations[cell.combination].label}, seed {cell.seed}"

    def cell(self, name: str) -> Cell:
        """Return the cell of a name. Raises VsrError if there is none."""
        found = {cell.name: cell for cell in self.cells}
        if name not in found:
            raise VsrError(f"{name}: the ablation has no cell of this name; {nearest(name, found)}")
        return found[name]


def make_cells(combinations: Sequence[Combination], settings: Sequence[Mapping[str, Any]], seeds: int) -> list[Cell]:
    """Return the cells of all combinations, with `seeds` consecutive seeds from the one in the settings on.

    Raises VsrError if two combinations have the same settings.
    """
    for number, setting in enumerate(settings):
        if (first := list(settings).index(setting)) < number:
            one, other = combinations[first].label, combinations[number].label
            raise VsrError(f"{other}: has the same settings as {one}; name each value once")
    cells: list[Cell] = []
    taken: set[str] = set()
    for later in range(seeds):
        for number, (combination, setting) in enumerate(zip(combinations, settings, strict=True)):
            seed = setting["training"]["seed"] + later
            name = f"{file_name(combination.label)}_seed{seed}"
            if name in taken:  # long labels are truncated, and characters that no file name may hold removed
                name = f"{number}_{name}"
            taken.add(name)
            cells.append(Cell(name, number, seed, {**setting, "training": {**setting["training"], "seed": seed}}))
    return cells


@dataclass(frozen=True)
class Ablation:
    """The folder of an ablation."""

    folder: Path

    @property
    def _plan(self) -> Path:
        return self.folder / "ablation.json"

    @property
    def _taken(self) -> str:
        return f"--out {self.folder}: exists and is not an ablation; name another, nothing is overwritten"

    def run(self, cell: Cell) -> Path:
        """Return the run folder of a cell."""
        return self.folder / "runs" / cell.name

    def log(self, name: str) -> Path:
        """Return the log file of a cell, or of the features of all."""
        return self.folder / "logs" / f"{name}.log"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the folder's lock; the folder is created if it is missing.

        Raises VsrError if another process runs this ablation, or if a link is in the folder.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise VsrError(self._taken)
        with exclusive_lock(
            self.folder, busy=f"{self.folder}: another process runs this ablation; wait for it, or stop it"
        ):
            refuse_links(self.folder, OWNED, below=False)
            for folder in ("runs", "logs"):
                refuse_links(self.folder / folder, ["*"], below=False)  # a run refuses those below it itself
            yield

    def open(self) -> tuple[Plan, Path]:
        """Read the plan and the path of the prepared data. Raises VsrError if there is no plan of this format."""
        record = read_json(self._plan, what=WHAT)
        try:
            if record["format"] != FORMAT:
                raise VsrError(f"{self._plan}: of format {record['format']}, this vsr reads {FORMAT}; run it anew")
            values = record["plan"]
            plan = Plan(
                combinations=[Combination(**combination) for combination in values["combinations"]],
                cells=[Cell(**cell) for cell in values["cells"]],
                **{key: value for key, value in values.items() if key not in ("combinations", "cells")},
            )
            return plan, Path(record["data"])
        except (KeyError, TypeError) as error:
            raise VsrError(f"{self._plan}: is not {WHAT} ({error}); name another folder with --out") from error

    def begin(self, plan: Plan, data: Path) -> None:
        """Write the plan, or check that it equals the stored one.

        The caller holds the folder's lock. Raises VsrError if the folder has another plan or other content.
        """
        if self._plan.exists():
            before, _ = self.open()
            if before.digest != plan.digest:
                old, new = before.record(), plan.record()
                changed = ", ".join(key.replace("_", " ") for key in new if old[key] != new[key])
                raise VsrError(
                    f"--out {self.folder}: holds another plan (other: {changed}); "
                    "repeat the original command to continue it, or name another folder"
                )
        elif not is_empty(self.folder):
            raise VsrError(self._taken)
        (self.folder / "runs").mkdir(parents=True, exist_ok=True)
        (self.folder / "logs").mkdir(exist_ok=True)
        facts = {"format": FORMAT, "digest": plan.digest, "data": str(data.resolve())}
        write_json(self._plan, {**facts, "plan": plan.record()})


def default_folder(plan: Plan) -> Path:
    """Return a folder named after the axes and the plan's digest, so that the same command finds it again."""
    return ABLATIONS / f"{file_name('-'.join(plan.combinations[0].values) or 'seeds')}_{plan.digest[:6]}"
