"""Experiment trackers of accelerate, such as TensorBoard, which get the same numbers as history.jsonl.

Nothing of vsr reads what a tracker writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ..errors import VsrError
from ..files.strict_json import to_json
from ..runs.run import Run

if TYPE_CHECKING:
    from accelerate.tracking import GeneralTracker

PROJECT = "vsr"
"""The project name in trackers that store the runs of several projects."""


def check_installed(names: Sequence[str]) -> None:
    """Raise VsrError if the package of a tracker is not installed. Imports none of them."""
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise VsrError(
            f"training.track: {' and '.join(missing)} cannot be used, since its package is not installed; "
            f"pip install {' '.join(missing)}"
        )


class Trackers:
    """The started trackers of a run, usually none."""

    def __init__(self, started: Sequence[GeneralTracker] = ()) -> None:
        self._started = tuple(started)

    def log(self, row: Mapping[str, Any], *, step: int) -> None:
        """Log numbers at a step; those of a nested mapping are named "train/loss"."""
        if self._started:
            values = flat(row, "/")
            for tracker in self._started:
                tracker.log(values, step=step)


@contextmanager
def tracking(names: Sequence[str], run: Run, config: Mapping[str, Any]) -> Iterator[Trackers]:
    """Start the trackers of these names with the run's configuration, and finish them at the end of the block.

    An Accelerator must exist: of several processes, only the main one writes. Raises VsrError if one cannot be started.
    """
    if not names:
        yield Trackers()
        return
    settings = {key: _plain(value) for key, value in flat(config, ".").items()}
    started: list[GeneralTracker] = []
    try:
        for name in dict.fromkeys(names):
            started.append(_start(name, run, settings))
        yield Trackers(started)
    finally:
        for tracker in started:
            tracker.finish()


def _start(name: str, run: Run, settings: dict[str, Any]) -> GeneralTracker:
    try:
        tracker = _tracker(name, run)
        tracker.start()
        tracker.store_init_configuration(settings)
    except Exception as error:  # each tracker has errors of its own, for want of a key or a server
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise VsrError(f"training.track: {name} cannot be started ({reason}); set it up, or leave it out") from error
    return tracker


def flat(values: Mapping[str, Any], separator: str) -> dict[str, Any]:
    """Flatten nested mappings: {"train": {"loss": 1.0}} becomes {"train/loss": 1.0} with "/"."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= {f"{name}{separator}{key}": inner for key, inner in flat(value, separator).items()}
        else:
            found[name] = value
    return found


def _tracker(name: str, run: Run) -> GeneralTracker:
    """Return a tracker that stores its files in the run folder if it can, and otherwise has the run's name."""
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    kind = LOGGER_TYPE_TO_CLASS[name]
    if kind.requires_logging_directory:
        return kind(name, run.folder)
    further: dict[str, dict[str, Any]] = {
        "dvclive": {"dir": str(run.folder / name), "dvcyaml": None},
        "mlflow": {"run_name": run.name},
        "trackio": {"name": run.name},
        "wandb": {"name": run.name, "dir": str(run.folder)},
    }
    return kind(PROJECT, **further.get(name, {}))


def _plain(value: Any) -> Any:
    """Return a setting as a string or number, the types that all trackers accept."""
    return value if isinstance(value, str | int | float) else to_json(value)
