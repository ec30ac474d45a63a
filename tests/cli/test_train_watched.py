"""`vsr train --dry-run`, `--track` and `--json`, as they are typed."""

import json
import os
import signal
from pathlib import Path

import pytest

from vsr_cli.training import trackers as tracking


def files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]}


def test_a_dry_run_says_what_training_would_take_and_leaves_nothing(place, vsr):
    before = files(place)
    shown, record = vsr("train --dry-run --epochs 7"), vsr("train --dry-run --epochs 7 --json")
    assert (shown.code, record.code) == (0, 0), shown.err + record.err
    assert files(place) == before
    plan = json.loads(record.out)
    assert plan["epochs"] == 7
    assert plan["steps_per_epoch"] * plan["windows_per_step"] >= plan["windows"]["train"]
    seconds = plan["seconds"]
    assert seconds["training"] == pytest.approx(seconds["features"] + 7 * seconds["epoch"])
    assert "total, 7 epochs" in shown.out


def test_a_dry_run_needs_data_and_plans_no_resumption(empty, vsr):
    assert vsr("train --dry-run").errors[0].startswith("--dry-run: nothing is prepared under data/ yet")
    (error,) = vsr("train --dry-run --resume runs/mine").errors
    assert error == "--dry-run: plans a new training; leave out --resume, or --dry-run"
    assert list(empty.iterdir()) == []


def test_a_tracked_run_has_curves_and_a_tensorboard_and_says_so_in_json(place, vsr, tmp_path):
    answer = vsr(f"train --data data/storyworld --epochs 2 --track tensorboard --json --out {tmp_path / 'run'}")
    assert answer.code == 0, answer.err
    summary = json.loads(answer.out)
    assert summary["folder"] == str(tmp_path / "run")
    assert (summary["status"], summary["epochs_done"]) == ("finished", 2)
    assert list((tmp_path / "run" / "tensorboard").glob("events.out.tfevents.*"))
    assert (tmp_path / "run" / "curves.png").is_file()
    assert f"curves {tmp_path / 'run' / 'curves.png'}" in answer.err


def test_an_interrupted_run_has_curves_too(place, vsr, at_step, tmp_path):
    def interrupt(losses):
        os.kill(os.getpid(), signal.SIGINT)
        return losses

    steps = json.loads(vsr("train --data data/storyworld --dry-run --json").out)["steps_per_epoch"]
    at_step(steps + 1, interrupt)
    answer = vsr(f"train --data data/storyworld --epochs 3 --out {tmp_path / 'run'}")
    assert answer.code == 130
    assert (tmp_path / "run" / "curves.png").is_file()
    assert answer.err.index("curves") < answer.err.index("resume with: vsr train --resume")


def test_a_tracker_that_is_unknown_or_not_installed_is_a_mistake_before_there_is_a_run(
    place, vsr, tmp_path, monkeypatch
):
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
