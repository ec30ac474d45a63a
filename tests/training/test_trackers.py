"""Experiment trackers: TensorBoard and a recorder."""

import contextlib
import json
from typing import ClassVar, get_args

import pytest
from accelerate import Accelerator
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vsr_cli.api import VsrError
from vsr_cli.config.choices import Tracker
from vsr_cli.runs.run import Run
from vsr_cli.training import trackers as module
from vsr_cli.training.trackers import check_installed, flat, tracking

ROW = {"epoch": 2, "steps": 6, "train": {"loss": 3.0, "text": 2.0}, "validation": {"loss": 4.0}, "learning_rate": 1e-3}
CONFIG = {"preset": "tiny", "training": {"epochs": 2, "track": ["tensorboard"], "note": None}}


@pytest.fixture
def run(tmp_path):
    Accelerator(cpu=True)  # as where a model trains: a tracker asks it which of several processes this is
    folder = tmp_path / "runs" / "mine"
    folder.mkdir(parents=True)
    return Run(folder)


class Recorder(GeneralTracker):
    """Record the calls."""

    name = "recorder"
    requires_logging_directory = False
    calls: ClassVar[list] = []

    def __init__(self, project):
        super().__init__()
        self.calls.append(("made", project))

    @property
    def tracker(self):
        return self

    def start(self):
        self.calls.append(("started",))

    def store_init_configuration(self, values):
        self.calls.append(("configured", values))

    def log(self, values, step=None):
        self.calls.append(("logged", values, step))

    def finish(self):
        self.calls.append(("finished",))


@pytest.fixture
def calls(monkeypatch):
    monkeypatch.setitem(LOGGER_TYPE_TO_CLASS, "recorder", Recorder)
    monkeypatch.setattr(Recorder, "calls", [])
    return Recorder.calls


def test_tensorboard_gets_every_number_of_a_row_into_the_run_folder(run):
    with tracking(["tensorboard"], run, CONFIG) as trackers:
        for step in (5, 6):
            trackers.log({"batch": {"loss": 1.0 / step}}, step=step)
        trackers.log(ROW, step=6)
    read = EventAccumulator(str(run.folder / "tensorboard")).Reload()
    names = {"batch/loss", "train/loss", "train/text", "validation/loss", "learning_rate", "epoch", "steps"}
    assert set(read.Tags()["scalars"]) == names
    assert [(event.step, event.value) for event in read.Scalars("train/text")] == [(6, 2.0)]
    assert [event.step for event in read.Scalars("batch/loss")] == [5, 6]


def test_a_tracker_gets_the_settings_and_rows_and_is_always_finished(run, calls):
    with contextlib.suppress(KeyboardInterrupt), tracking(["recorder", "recorder"], run, CONFIG) as trackers:
        trackers.log(ROW, step=6)
        raise KeyboardInterrupt
    settings = {"preset": "tiny", "training.epochs": 2, "training.track": '["tensorboard"]', "training.note": "null"}
    values = {
        "epoch": 2, "steps": 6, "train/loss": 3.0, "train/text": 2.0, "validation/loss": 4.0, "learning_rate": 1e-3,
    }  # fmt: skip
    assert calls == [
        ("made", "vsr"), ("started",), ("configured", settings), ("logged", values, 6), ("finished",),
    ]  # fmt: skip


def test_a_tracker_that_cannot_be_started_is_one_line_and_the_others_are_finished(run, calls, monkeypatch):
    class Locked(Recorder):
        def start(self):
            raise RuntimeError("no key\nwas given")

    monkeypatch.setitem(LOGGER_TYPE_TO_CLASS, "locked", Locked)
    mistake = pytest.raises(VsrError, match=r"locked cannot be started \(RuntimeError: no key was given\)")
    with mistake, tracking(["recorder", "locked"], run, CONFIG):
        pytest.fail("nothing is trained")
    assert calls[-1] == ("finished",)


def test_without_a_tracker_nothing_is_started_or_written(run):
    with tracking([], run, CONFIG) as trackers:
        trackers.log(ROW, step=6)
    assert list(run.folder.iterdir()) == []


def test_a_package_that_is_not_installed_is_a_mistake_with_its_remedy(monkeypatch):
    check_installed(["tensorboard"])
    monkeypatch.setattr(module, "find_spec", lambda name: None if name != "wandb" else object())
    with pytest.raises(VsrError, match=r"tensorboard and mlflow cannot be used.*; pip install tensorboard mlflow$"):
        check_installed(["tensorboard", "wandb", "mlflow"])


def test_the_trackers_are_those_of_accelerate():
    assert set(get_args(Tracker)) == set(LOGGER_TYPE_TO_CLASS)


def test_nested_mappings_are_flattened():
    assert flat({"a": 1, "b": {"c": 2, "d": {"e": 3}}, "f": {}}, ".") == {"a": 1, "b.c": 2, "b.d.e": 3}
    assert json.dumps(flat(ROW, "/"))
