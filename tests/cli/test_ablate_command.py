"""`vsr ablate` as it is typed. Its cells run in this process, but for one test that kills real ones."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vsr_cli.ablation import engines
from vsr_cli.cli.workflows import training
from vsr_cli.errors import VsrError

LINE = "ablate --temporal gru lstm --seeds 2 --metrics bleu mse --out ab --data data/storyworld"


class Ended:
    def done(self):
        return True

    def stop(self):
        raise AssertionError("it has ended")


@pytest.fixture
def begun(monkeypatch, vsr):
    """Have cells run in this process. Gives the list of those that were begun."""
    cells = []

    class InThisProcess:
        def __init__(self, jobs):
            pass

        def first(self, words, log):
            return vsr(shlex.join(words)).code

        def start(self, words, log):
            cells.append(words[-1])
            log.write_text(vsr(shlex.join(words)).err)
            return Ended()

    monkeypatch.setattr(engines, "LocalProcesses", InThisProcess)
    return cells


@pytest.fixture
def here(place, tmp_path, monkeypatch):
    """A folder of its own, with the prepared stories."""
    shutil.copytree(place / "data", tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_all_of_it_once_and_then_nothing_more(vsr, here, begun):
    answer = vsr(f"{LINE} --json")
    assert answer.code == 0, answer.err
    assert begun == ["gru_seed0", "lstm_seed0", "gru_seed1", "lstm_seed1"]
    result = json.loads(answer.out)
    assert result == json.loads((here / "ab/result.json").read_text())
    assert [combination["label"] for combination in result["combinations"]] == ["gru", "lstm"]
    assert [combination["seeds"] for combination in result["combinations"]] == [[0, 1], [0, 1]]
    gru, lstm = (combination["parameters"]["trained"] for combination in result["combinations"])
    assert lstm > gru > 1000
    base, other = result["metrics"]["mse"]["scores"]
    assert {"value", "seeds", "baselines"} <= base.keys()
    assert "verdict" not in base
    assert other["difference"] == pytest.approx(other["value"] - base["value"])
    assert base["seeds"][0] != base["seeds"][1]
    assert (here / "ab/ablation.png").stat().st_size > 10_000
    assert "| gru |" in (here / "ab/ablation.md").read_text()
    for name in begun:
        run = json.loads((here / "ab/runs" / name / "config.json").read_text())
        assert [run["temporal"]["name"], f"seed{run['training']['seed']}"] == name.split("_")
    begun.clear()
    again = vsr(LINE)
    assert again.code == 0
    assert begun == []
    assert "4 of 4 runs are already done" in again.err
    assert "not significant" in again.out
    other = vsr(f"{LINE} --seeds 3")
    assert other.code == 2
    assert other.errors == [
        "--out ab: holds another plan (other: cells); "
        "repeat the original command to continue it, or name another folder"
    ]
    listed = json.loads(vsr("runs list ab/runs --json").out)
    assert {run["status"] for run in listed} == {"finished"}


def test_a_cell_that_fails_costs_its_line_and_the_same_command_tries_it_again(vsr, here, begun, monkeypatch):
    train = training.run_train

    def fail_lstm(config, data, out):
        if config.parts["temporal"].name == "lstm":
            raise VsrError("lstm: is out of order; mend it")
        return train(config, data, out)

    line = "ablate --temporal lstm gru --seeds 1 --metrics mse --out ab --data data/storyworld"
    with monkeypatch.context() as patch:
        patch.setattr(training, "run_train", fail_lstm)
        answer = vsr(f"{line} --json")
    assert answer.code == 1
    result = json.loads(answer.out)
    assert result["failed"] == {"lstm_seed0": "lstm: is out of order; mend it"}
    assert "failed  lstm, seed 0, in 0:0" in answer.err
    assert ": lstm: is out of order; mend it (log: ab/logs/lstm_seed0.log)" in answer.err
    base, gru = result["metrics"]["mse"]["scores"]
    assert base is None
    assert "difference" not in gru
    begun.clear()
    assert vsr(line).code == 0
    assert begun == ["lstm_seed0"]


def test_when_the_time_is_up_no_further_run_is_begun_and_that_is_said(vsr, here, begun):
    answer = vsr(f"{LINE} --max-minutes 0")
    assert answer.code == 0
    assert begun == []
    missing = "gru_seed0, lstm_seed0, gru_seed1, lstm_seed1"
    assert f"not run, since the time was over: {missing}; the same command resumes" in answer.err
    assert "no run has finished yet" in answer.out


def test_a_line_without_out_finds_its_folder_again_and_another_line_has_another(vsr, here, begun):
    for words in ("--temporal gru lstm", "--temporal gru lstm", "--temporal lstm gru", "--grid model.width=16,32"):
        assert vsr(f"ablate {words} --max-minutes 0").code == 0
    assert sorted(path.name.rpartition("_")[0] for path in (here / "ablations").iterdir()) == [
        "model.width",
        "temporal",
        "temporal",
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--temporal gru lstmm", ["temporal model 'lstmm'", "did you mean lstm"]),
        ("--temporal gruu lstmm", ["'gruu'", "'lstmm'"]),
        ("--temporal gru --grid model.width=8,wide", ["--grid model.width=wide: ", "valid integer"]),
        ("--grid modle.width=8,16", ["did you mean model?"]),
        ("--grid training.seed=1,2", ["use --seeds N"]),
        ("--temporal gru lstm --set temporal.name=gru", ["--set temporal.name=gru", "is varied"]),
        ("--grid training.epochs=1,01", ["has the same settings"]),
        ("--temporal gru --metrics blue", ["did you mean bleu?"]),
        ("--temporal gru --split train", ["'--split'", "'train' is not one of 'validation', 'test'"]),
        ("--temporal gru --seeds 0", ["--seeds"]),
        ("--temporal gru --data absent", ["absent"]),
        ("--temporal gru --launcher rey", ["'--launcher'", "'rey' is not one of 'local', 'submitit'"]),
        ("--temporal gru --job timeout_min=3", ["--job: needs --launcher submitit"]),
        ("--temporal gru --launcher submitit --job fast", ["--job fast: not of the form key=value"]),
        ("--temporal gru --out data", ["--out data: exists and is not an ablation"]),
    ],
)
def test_a_mistake_is_told_before_anything_is_trained(vsr, here, begun, words, said):
    answer = vsr(f"ablate {words}")
    assert answer.code == 2
    together = "\n".join(answer.errors)
    assert together
    for part in said:
        assert part in together
    assert begun == []


def test_an_encoder_that_cannot_be_had_is_told_before_anything_is_trained(vsr, here, begun):
    answer = vsr("ablate --text tiny-text hf-text --set text.model=absent/model --data data/storyworld --out ab")
    assert answer.code == 2
    assert begun == []


def start(line, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "vsr_cli", *shlex.split(line)],
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(path: Path):
    until = time.monotonic() + 240
    while not path.exists():
        assert time.monotonic() < until, f"{path} did not come"
        time.sleep(0.05)


@pytest.mark.slow
def test_an_ablation_that_is_killed_goes_on_with_the_same_command(vsr, here):
    line = "ablate --temporal gru --seeds 1 --epochs 400 --metrics mse --out ab --data data/storyworld"
    killed = start(line)
    wait_for(here / "ab/runs/default_seed0/checkpoints/last")
    killed.kill()
    killed.communicate()
    # The cell's own process sees that its parent is gone, keeps what it has and ends.
    facts, history = (here / "ab/runs/default_seed0" / name for name in ("run.json", "history.jsonl"))
    until = time.monotonic() + 60
    while json.loads(facts.read_text())["status"] == "running":
        assert time.monotonic() < until
        time.sleep(0.1)
    assert json.loads(facts.read_text())["status"] == "interrupted"
    # Typed again, and stopped as by a scheduler: what runs keeps what it has.
    before = history.read_text()
    stopped = start(line)
    until = time.monotonic() + 240
    while len(history.read_text()) <= len(before):
        assert time.monotonic() < until
        time.sleep(0.05)
    stopped.send_signal(signal.SIGTERM)
    _, said = stopped.communicate(timeout=60)
    assert stopped.returncode == 143
    assert "stopped default, seed 0" in said
    assert "interrupted, nothing is lost; resume with: vsr ablate" in said
    assert json.loads(facts.read_text())["status"] == "interrupted"
    assert len(json.loads(facts.read_text())["resumed"]) == 1
    assert history.read_text().startswith(before)


def test_a_command_can_be_a_job_of_submitit(tmp_path):
    pytest.importorskip("submitit")
    job = engines.ClusterJobs(tmp_path / "jobs", {"cluster": "local", "timeout_min": "3"}).start(
        ["--version"], tmp_path / "log"
    )
    until = time.monotonic() + 120
    while not job.done():
        assert time.monotonic() < until
        time.sleep(0.1)
    assert (tmp_path / "log").read_text().startswith("vsr ")


def test_what_submitit_does_not_know_is_one_line(vsr, here):
    pytest.importorskip("submitit")
    answer = vsr("ablate --temporal gru --out ab --launcher submitit --job cluster=local slurm_partitoin=gpu")
    assert answer.code == 2
    (error,) = answer.errors
    assert "partitoin" in error


def test_if_no_metric_can_run_nothing_is_trained(vsr, here, begun):
    answer = vsr("ablate --temporal gru lstm --seeds 1 --metrics bertscore clipscore --out ab --data data/storyworld")
    assert answer.code == 2
    assert [line.partition(":")[0] for line in answer.errors] == ["bertscore", "clipscore"]
    assert begun == []
    assert not (here / "ab").exists()
