"""`vsr train`: data that it prepares, dry runs, trackers, resuming."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from vsr_cli.api import (
    VsrError,
)
from vsr_cli.runs.run import Run
from vsr_cli.training import trackers as tracking

from ..folders import contents, modification_times, names_in


def test_train_in_an_empty_folder_prepares_storyworld(trained):
    folder, answer = trained
    assert answer.code == 0
    assert "this run trains on stories that vsr generates (storyworld, preset tiny)" in answer.err
    assert (folder / "data/storyworld/manifest.json").is_file()
    (run,) = (folder / "runs").iterdir()
    assert json.loads((run / "run.json").read_text())["status"] == "finished"
    assert json.loads((run / "config.json").read_text())["temporal"]["name"] == "gru"
    assert len((run / "history.jsonl").read_text().splitlines()) == 1
    assert "next: vsr evaluate --run runs/" in answer.err


def test_train_uses_the_settings_of_config_show(workspace, vsr, tmp_path):
    shown = vsr("config show --temporal lstm --epochs 3 --set temporal.layers=2")
    assert shown.code == 0
    settings = json.loads(shown.out)
    assert settings["temporal"] == {"name": "lstm", "layers": 2, "dropout": 0.0}
    assert settings["visual"]["name"] == "tiny-cnn"
    (tmp_path / "mine.json").write_text(shown.out)
    again = vsr(f"config show --config {tmp_path / 'mine.json'}")
    assert again.out == shown.out
    answer = vsr(f"train --config {tmp_path / 'mine.json'} --epochs 1 --out {tmp_path / 'run'}")
    assert answer.code == 0, answer.err
    written = json.loads((tmp_path / "run/config.json").read_text())
    assert {key: written[key] for key in settings} == {**settings, "training": {**settings["training"], "epochs": 1}}
    assert json.loads((tmp_path / "run/run.json").read_text())["data"] == str(workspace / "data/storyworld")


def test_dry_run_reports_costs_and_writes_nothing(workspace, vsr):
    before = modification_times(workspace)
    shown, record = vsr("train --dry-run --epochs 7"), vsr("train --dry-run --epochs 7 --json")
    assert (shown.code, record.code) == (0, 0), shown.err + record.err
    assert modification_times(workspace) == before
    plan = json.loads(record.out)
    assert plan["epochs"] == 7
    assert plan["steps_per_epoch"] * plan["windows_per_step"] >= plan["windows"]["train"]
    seconds = plan["seconds"]
    assert seconds["training"] == pytest.approx(seconds["features"] + 7 * seconds["epoch"])
    assert "total, 7 epochs" in shown.out


def test_dry_run_needs_data_and_refuses_resume(empty, vsr):
    assert vsr("train --dry-run").errors[0].startswith("--dry-run: nothing is prepared under data/ yet")
    (error,) = vsr("train --dry-run --resume runs/mine").errors
    assert error == "--dry-run: plans a new training; leave out --resume, or --dry-run"
    assert list(empty.iterdir()) == []


def test_tracked_run_has_curves_and_tensorboard(workspace, vsr, tmp_path):
    answer = vsr(f"train --data data/storyworld --epochs 2 --track tensorboard --json --out {tmp_path / 'run'}")
    assert answer.code == 0, answer.err
    summary = json.loads(answer.out)
    assert summary["folder"] == str(tmp_path / "run")
    assert (summary["status"], summary["epochs_done"]) == ("finished", 2)
    assert list((tmp_path / "run" / "tensorboard").glob("events.out.tfevents.*"))
    assert (tmp_path / "run" / "curves.png").is_file()
    assert f"curves {tmp_path / 'run' / 'curves.png'}" in answer.err


def test_interrupted_run_has_curves(workspace, vsr, at_step, tmp_path):
    def interrupt(losses):
        os.kill(os.getpid(), signal.SIGINT)
        return losses

    steps = json.loads(vsr("train --data data/storyworld --dry-run --json").out)["steps_per_epoch"]
    at_step(steps + 1, interrupt)
    answer = vsr(f"train --data data/storyworld --epochs 3 --out {tmp_path / 'run'}")
    assert answer.code == 130
    assert (tmp_path / "run" / "curves.png").is_file()
    assert answer.err.index("curves") < answer.err.index("resume with: vsr train --resume")


def test_unknown_or_missing_tracker_is_a_usage_error(workspace, vsr, tmp_path, monkeypatch):
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    out = tmp_path / "run"
    unknown = vsr(f"train --track tensorbord --out {out}").errors
    assert len(unknown) == 1
    assert "--track tensorbord" in unknown[0]
    assert "'tensorboard'" in unknown[0]
    missing = vsr(f"train --track comet_ml --out {out}").errors
    assert missing == [
        "training.track: comet_ml cannot be used, since its package is not installed; pip install comet_ml"
    ]
    assert not out.exists()


@pytest.fixture
def copied_run(workspace, tmp_path):
    """A copy of the run that `vsr train --temporal gru` made."""
    (trained,) = (workspace / "runs").iterdir()
    return Run(shutil.copytree(trained, tmp_path / "run"))


def test_resume_of_a_finished_run_does_nothing(vsr, copied_run):
    before = contents(copied_run.folder)
    answer = vsr(f"train --resume {copied_run.folder}")
    assert answer.code == 0
    assert "is finished: nothing to do; --epochs N, above 1, trains on" in answer.err
    assert contents(copied_run.folder) == before


def test_resume_with_more_epochs_trains_on(vsr, copied_run):
    answer = vsr(f"train --resume {copied_run.folder} --epochs 2")
    assert answer.code == 0
    assert not answer.out
    assert [json.loads(line)["epoch"] for line in copied_run.history.read_text().splitlines()] == [1, 2]
    assert copied_run.facts()["status"] == "finished"
    assert copied_run.config()["training"]["epochs"] == 2


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("--temporal lstm", "(got --temporal lstm)"),
        ("--batch-size 4 --set training.seed=2", "(got --batch-size 4, --set training.seed=2)"),
        ("--preset tiny --out elsewhere", "(got --preset tiny, --out elsewhere)"),
        ("--config x.toml", "(got --config x.toml)"),
        ("--epochs 0", "--epochs 0"),
        ("--epochs 2 --data runs", "vsr prepare"),
    ],
)
def test_options_that_resume_refuses_are_one_line(vsr, copied_run, words, part):
    answer = vsr(f"train --resume {copied_run.folder} {words}")
    assert answer.code == 2
    (error,) = answer.errors
    assert part in error


@pytest.mark.parametrize(("folder", "part"), [("nowhere", "there is no such folder"), ("data/storyworld", "not a run")])
def test_resume_of_another_folder_is_one_line(vsr, workspace, folder, part):
    answer = vsr(f"train --resume {folder}")
    assert answer.code == 2
    (error,) = answer.errors
    assert part in error


def test_refused_training_writes_no_run(workspace, vsr, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise VsrError("the model cannot be built")

    monkeypatch.setattr("vsr_cli.training.setup.build_model", refuse)
    before = names_in(Path("runs"))
    for out in ("", f"--out {tmp_path / 'run'}"):
        answer = vsr(f"train {out}")
        assert answer.code == 2
        assert answer.errors == ["the model cannot be built"]
    assert names_in(Path("runs")) == before
    assert not (tmp_path / "run").exists()
