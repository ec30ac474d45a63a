"""`vsr train`: a model out of prepared data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..config import TrainConfig
from ..console import say
from ..plugin.registry import Registry
from ..run import Run, create_run


def find_data(folder: Path | None) -> Path | None:
    """Give the prepared folder to train on: the one named, or the newest under data/; None if there is none."""
    from ..data.prepared import newest_prepared

    return folder or newest_prepared()


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read what a prepared folder says of itself. Raises VsrError if it is not one."""
    from ..data.prepared import open_prepared

    return open_prepared(folder).manifest


def prepare_embedded(found: Registry) -> Path:
    """Prepare the embedded dataset, since there is nothing else to train on."""
    from .prepare import default_folder, prepare_config, run_prepare, show_prepared

    say("nothing is prepared under data/ yet: preparing the embedded dataset, storyworld, with the tiny preset")
    config = prepare_config(found, dataset="storyworld", preset="tiny", flags={}, assignments=[])
    folder = default_folder(None, "storyworld")
    show_prepared(run_prepare(config, None, folder))
    return folder


def run_train(config: TrainConfig, data: Path, out: Path | None) -> Run:
    """Train, showing the losses as they fall. Gives the finished run."""
    record = config.record() | {"data": _data_facts(read_manifest(data))}
    distributions = {section: choice.provided.distribution for section, choice in config.parts.items()}
    run = create_run(out, config=record, data=data, distributions=distributions)
    say(f"run {run.folder}, on {data}")

    with run.recording_failure():
        from ..data.prepared import open_prepared
        from ..training.display import TrainingDisplay
        from ..training.loop import train

        with TrainingDisplay() as display:
            train(config, open_prepared(data), run, display)
    return run


def _data_facts(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Give what a run must know of its data when the data is gone."""
    return {
        **manifest["data"],
        "fingerprint": manifest["fingerprint"],
        "dataset": manifest["dataset"]["name"],
    }
