"""The folder of a search.

tune.json       the space, the settings that all trials share, and the data
study.db        Optuna's study: every trial with its values and validation losses, in SQLite
trials/NAME.json, runs/NAME/, logs/NAME.log     the settings of a trial, its run folder, and its output
result.json, best.json, tune.png       the table, the best settings for `vsr train --config`, and the charts
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config.experiment import TrainConfig, resolve_train
from ..config.resolve import Layer, parse_set
from ..errors import VsrError
from ..files.atomic import is_empty, read_json, write_json
from ..files.links import refuse_links
from ..files.locks import exclusive_lock
from ..files.strict_json import to_json
from ..plugin.registry import Registry
from .space import Dimension

TUNINGS = Path("tunings")
PLAN = "tune.json"
OWNED = (PLAN, "study.db", "trials", "runs", "logs", "jobs", "result.json", "best.json", "tune.png")
"""What vsr writes in the folder of a search."""
FORMAT = 1
WHAT = "a search that 'vsr tune' wrote"


@dataclass(frozen=True, kw_only=True)
class Search:
    """Everything that the trials of a search depend on, but their number."""

    space: Sequence[Dimension]
    settings: Mapping[str, Any]
    """The configuration that all trials share, before their own values, as a run's config.json has it."""
    fingerprint: str
    """Of the prepared data."""
    watched: str
    """The validation loss that is minimized."""

    def record(self) -> dict[str, Any]:
        """Return the search for JSON."""
        return {
            "space": [each.record() for each in self.space],
            "settings": dict(self.settings),
            "fingerprint": self.fingerprint,
            "watched": self.watched,
        }

    @property
    def digest(self) -> str:
        """The digest of all of it."""
        return hashlib.sha256(to_json(self.record(), sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Tuning:
    """The folder of a search."""

    folder: Path

    @property
    def plan(self) -> Path:
        """The file of the search."""
        return self.folder / PLAN

    @property
    def study(self) -> Path:
        """The file of the study."""
        return self.folder / "study.db"

    @property
    def _taken(self) -> str:
        return f"--out {self.folder}: exists and is not a search; name another, nothing is overwritten"

    def name(self, number: int) -> str:
        """Return the name of a trial's run, log and settings."""
        return f"trial-{number:03d}"

    def run(self, number: int) -> Path:
        """Return the run folder of a trial."""
        return self.folder / "runs" / self.name(number)

    def log(self, name: str) -> Path:
        """Return the log file of a trial, or of the features of all."""
        return self.folder / "logs" / f"{name}.log"

    def settings(self, name: str) -> Path:
        """Return the file of a trial's settings."""
        return self.folder / "trials" / f"{name}.json"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the folder's lock; the folder is created if it is missing.

        Raises VsrError if another process runs this search, or if a link is in the folder.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise VsrError(self._taken)
        busy = f"{self.folder}: another process runs this search; wait for it, or stop it"
        with exclusive_lock(self.folder, busy=busy):
            refuse_links(self.folder, OWNED, below=False)
            for folder in ("runs", "logs", "trials"):
                refuse_links(self.folder / folder, ["*"], below=False)
            yield

    def begin(self, search: Search, data: Path) -> None:
        """Write the search, or check that it equals the stored one. Raises VsrError if the folder has other content."""
        if self.plan.exists():
            before = read_json(self.plan, what=WHAT)
            if before.get("digest") != search.digest or before.get("format") != FORMAT:
                old, new = before.get("search", {}), search.record()
                changed = ", ".join(key for key in new if old.get(key) != new[key])
                raise VsrError(
                    f"--out {self.folder}: holds another search (other: {changed or 'version'}); "
                    "repeat the original command to continue it, or name another folder"
                )
        elif not is_empty(self.folder):
            raise VsrError(self._taken)
        for name in ("runs", "logs", "trials"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        facts = {"format": FORMAT, "digest": search.digest, "data": str(data.resolve())}
        write_json(self.plan, {**facts, "search": search.record()})

    def open(self) -> tuple[Search, Path]:
        """Read the search and the path of the prepared data. Raises VsrError if there is none."""
        record = read_json(self.plan, what=WHAT)
        try:
            values = record["search"]
            space = [Dimension(**{**each, "values": tuple(each["values"])}) for each in values["space"]]
            return Search(**{**values, "space": space}), Path(record["data"])
        except (KeyError, TypeError) as error:
            raise VsrError(f"{self.plan}: is not {WHAT} ({error}); name another folder") from error


def with_assignments(registry: Registry, settings: Mapping[str, Any], assignments: Sequence[str]) -> TrainConfig:
    """Return a recorded configuration with some settings changed. Raises VsrError if they do not go together."""
    values = {key: value for key, value in settings.items() if isinstance(value, dict)}
    layers = [Layer("the other settings", values), *parse_set(assignments)]
    return resolve_train(registry, preset=str(settings["preset"]), layers=layers)


def default_folder(search: Search) -> Path:
    """Return a folder named after the search's digest, so that the same command finds it again."""
    keys = "-".join(each.setting.removesuffix(".name").rpartition(".")[2] for each in search.space)
    return TUNINGS / f"{keys[:60]}_{search.digest[:6]}"
