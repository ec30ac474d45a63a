"""`vsr tune`, with trials in this process except for the test that interrupts one."""

import json
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import optuna
import pytest

from vsr_cli.tuning.study import STARTUP

from ..warm_python import warm_python

SEARCH = "--search training.learning_rate=1e-8..1e-2:log temporal.name=gru,mean"
LINE = f"tune {SEARCH} --epochs 2 --out tn --data data/storyworld"


class Ended:
    def done(self):
        return True

    def stop(self):
        pass


@pytest.fixture
def started(started_here, monkeypatch):
    """Have trials run in this process, without images of curves. Return the list of started ones."""
    monkeypatch.setattr("vsr_cli.workflows.training._draw_curves", lambda run: None)
    return started_here(Ended())


@pytest.mark.slow
def test_search_finds_the_better_rate_and_resumes(vsr, prepared_folder, started):
    assert vsr(f"{LINE} --trials 2").code == 0
    assert started == ["trial-000", "trial-001"]
    answer = vsr(f"{LINE} --trials 5 --json")
    assert answer.code == 0, answer.err
    assert started == [f"trial-{number:03d}" for number in range(5)], "earlier trials are not repeated"
    result = json.loads(answer.out)
    assert result == json.loads((prepared_folder / "tn/result.json").read_text())
    best = result["trials"][0]
    assert best["number"] == result["best"]
    rates = sorted(float(each["settings"]["training.learning_rate"]) for each in result["trials"])
    assert float(best["settings"]["training.learning_rate"]) > rates[2], "a rate of 1e-8 learns nothing"
    values = [each["value"] for each in result["trials"]]
    assert values == sorted(values)
    weights = [path.parents[2].name for path in Path("tn/runs").glob("*/checkpoints/last/model.safetensors")]
    assert weights == [f"trial-{result['best']:03d}"]
    assert (prepared_folder / "tn/tune.png").stat().st_size > 10_000

    shown = vsr(f"{LINE} --trials 5")
    assert len(started) == 5
    assert "vsr train --config tn/best.json" in shown.out
    config = vsr("config show --data data/storyworld --config tn/best.json")
    assert json.loads(config.out)["training"]["learning_rate"] == float(best["settings"]["training.learning_rate"])
    assert json.loads(config.out)["temporal"]["name"] == best["settings"]["temporal.name"]


def test_trial_that_is_worse_than_the_median_is_stopped(vsr, prepared_folder, started):
    assert vsr(f"{LINE} --trials 1").code == 0
    study = optuna.load_study(study_name="vsr", storage="sqlite:///tn/study.db")
    (first,) = study.trials
    for _ in range(STARTUP):  # trials that were far better after each epoch, and ended badly
        study.add_trial(
            optuna.trial.create_trial(
                params=first.params, distributions=first.distributions, value=99.0, intermediate_values={1: 0.1, 2: 0.1}
            )
        )
    answer = vsr(f"{LINE} --trials {STARTUP + 2} --json")
    assert answer.code == 0, answer.err
    result = json.loads(answer.out)
    (stopped,) = [each for each in result["trials"] if each["state"] == "stopped"]
    assert stopped["number"] == STARTUP + 1
    assert f"trial-{STARTUP + 1:03d}: stopped after epoch 1, worse than the median" in answer.err
    assert result["best"] == 0
    assert [path.name for path in Path("tn/runs").iterdir() if (path / "checkpoints").exists()] == ["trial-000"]


@pytest.mark.slow
def test_values_do_not_depend_on_interruptions(vsr, prepared_folder, started):
    short = LINE.replace("--epochs 2", "--epochs 1")
    assert vsr(f"{short} --trials 7").code == 0
    for count in (2, 7):
        assert vsr(f"{short} --trials {count}".replace("tn", "again")).code == 0
    whole, again = (json.loads((prepared_folder / name / "result.json").read_text()) for name in ("tn", "again"))
    assert [(each["number"], each["settings"], each["value"]) for each in whole["trials"]] == [
        (each["number"], each["settings"], each["value"]) for each in again["trials"]
    ]


def test_failed_trial_is_reported_and_the_others_go_on(vsr, prepared_folder, started):
    # 3 heads do not divide the width, which only building the model shows.
    line = (
        "tune --search temporal.heads=3,4 --temporal transformer --epochs 1 --out tn --data data/storyworld --trials 3"
    )
    answer = vsr(f"{line} --json")
    assert answer.code == 0, answer.err
    trials = json.loads(answer.out)["trials"]
    failed = [each for each in trials if each["state"] == "failed"]
    assert failed
    assert all("does not divide" in each["reason"] and each["settings"]["temporal.heads"] == "3" for each in failed)
    assert "failed: " in answer.err


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("--search model.width=4,16 training.epochs=0..3", ["--search model.width=4", "--search training.epochs=0"]),
        ("--search temporal.name=gru,lstmm", ["did you mean lstm"]),
        ("--search temporal.layerz=1..2", ["did you mean layers?"]),
        ("--search model.width=8,16 --set model.width=8", ["leave out one of the two"]),
        ("--search temporal.name=gru,lstm --temporal gru", ["leave out one of the two"]),
        ("--search objective.image=0..1", ["--set training.best_metric=text"]),
        ("--search training.batch_size=1..2:log --job a=b", ["needs --launcher submitit or ray"]),
        ("--search model.width=8,16 --trials 0", ["--trials"]),
    ],
)
def test_mistake_is_reported_before_anything_is_written(vsr, prepared_folder, words, parts):
    answer = vsr(f"tune {words} --out tn --data data/storyworld")
    assert answer.code == 2
    assert len(answer.errors) == len(parts)
    for part, line in zip(parts, answer.errors, strict=True):
        assert part in line
    assert not (prepared_folder / "tn").exists()


def test_whole_numbers_are_searched_where_the_setting_takes_no_others(vsr, prepared_folder, started):
    vsr("tune --search training.batch_size=2..9 --epochs 1 --out tn --data data/storyworld --trials 1")
    (dimension,) = json.loads((prepared_folder / "tn/tune.json").read_text())["search"]["space"]
    assert dimension["whole"] is True


def test_another_search_in_the_folder_is_refused(vsr, prepared_folder, started):
    line = "tune --search training.batch_size=2..9 --epochs 1 --out tn --data data/storyworld --trials 1"
    assert vsr(line).code == 0
    answer = vsr(line.replace("2..9", "2..8"))
    assert answer.code == 2
    assert "holds another search (other: space)" in answer.errors[0]
    (prepared_folder / "mine").mkdir()
    (prepared_folder / "mine/notes").write_text("")
    assert "is not a search" in vsr(line.replace("tn", "mine")).errors[0]


def test_damaged_study_is_one_line(vsr, prepared_folder, started):
    line = "tune --search training.batch_size=2..9 --epochs 1 --out tn --data data/storyworld --trials 1"
    assert vsr(line).code == 0
    (prepared_folder / "tn/study.db").write_bytes(b"no database at all, but some text" * 100)
    answer = vsr(line)
    assert (answer.code, len(answer.errors)) == (2, 1)
    assert "study.db: cannot be read as a study" in answer.errors[0]


def test_best_run_that_is_gone_is_not_to_be_evaluated(vsr, prepared_folder, started):
    line = "tune --search training.batch_size=2..9 --epochs 1 --out tn --data data/storyworld --trials 1"
    assert "vsr evaluate --run tn/runs/trial-000" in vsr(line).out
    shutil.rmtree(prepared_folder / "tn/runs/trial-000")
    answer = vsr(line)
    assert (answer.code, "vsr evaluate" in answer.out) == (0, False)
    assert "vsr train --config tn/best.json" in answer.out


def test_time_limit_starts_no_trial(vsr, prepared_folder, started):
    answer = vsr(f"{LINE} --max-minutes 0")
    assert started == []
    assert answer.code == 1
    assert "no trial has finished" in answer.out


def test_tune_without_optuna_names_the_extra(vsr, prepared_folder, monkeypatch):
    monkeypatch.setattr("vsr_cli.cli.tune.missing_package", lambda name: [name])
    assert vsr(LINE).errors == ["tune: needs optuna; pip install 'vsr-cli[tune]'"]


@pytest.mark.slow
def test_interrupted_search_resumes_its_running_trial(prepared_folder, small_presets):
    line = LINE.replace("--epochs 2", "--epochs 400") + " --trials 1 --json"
    program = prepared_folder / "type.py"
    program.write_text(f"""
from pathlib import Path
from vsr_cli.config import presets
presets.FOLDER = Path({str(small_presets)!r})
from vsr_cli.entry import main
main()
""")
    process = subprocess.Popen([*warm_python(), program, *shlex.split(line)], stderr=subprocess.PIPE)
    history = prepared_folder / "tn/runs/trial-000/history.jsonl"
    until = time.monotonic() + 120
    while not history.exists() and time.monotonic() < until:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM, err
    assert b"resume with: vsr tune" in err
    epochs = len(history.read_bytes().splitlines())
    assert 1 <= epochs < 400
    assert (prepared_folder / "tn/runs/trial-000/checkpoints/last").is_dir()
