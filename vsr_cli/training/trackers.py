"""Experiment trackers beside history.jsonl: TensorBoard and whatever else accelerate knows, fed with the same numbers.

What a tracker writes is for its own pictures. Nothing of vsr reads it back.
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
"""Under which name a tracker that keeps runs in one place of its own finds them together."""


def check_installed(names: Sequence[str]) -> None:
    """Raise VsrError if the package of a tracker is not installed. Imports none of them."""
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise VsrError(
            f"training.track: {' and '.join(missing)} cannot be used, since its package is not installed; "
            f"pip install {' '.join(missing)}"
        )


class Trackers:
    """The trackers of a run that have been started; none of them is the usual case."""

    def __init__(self, started: Sequence[GeneralTracker] = ()) -> None:
        self._started = tuple(started)

    def log(self, row: Mapping[str, Any], *, step: int) -> None:
        """Hand on some numbers at a step; those of a mapping inside come as "train/loss"."""
        if self._started:
            values = flat(row, "/")
            for tracker in self._started:
                tracker.log(values, step=step)


@contextmanager
def tracking(names: Sequence[str], run: Run, config: Mapping[str, Any]) -> Iterator[Trackers]:
    """Start the trackers of these names for a run, tell them its configuration, and finish them in the end.

    To be called where an Accelerator has been made: of several processes that train, only the main one writes.
    Raises VsrError if one cannot be started.
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
    """Lay a mapping of mappings out flat: {"train": {"loss": 1.0}} gives {"train/loss": 1.0} with "/"."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= {f"{name}{separator}{key}": inner for key, inner in flat(value, separator).items()}
        else:
            found[name] = value
    return found


def _tracker(name: str, run: Run) -> GeneralTracker:
    """Make a tracker that keeps its files in the run folder where it can, and otherwise knows the run by its name."""
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
    """Return a setting as a tracker takes it: no list, and nothing that is not there."""
    return value if isinstance(value, str | int | float) else to_json(value)
