"""`vsr ablate`, with cells in this process except for the test that kills one."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vsr_cli.ablation import engines
from vsr_cli.errors import VsrError
from vsr_cli.workflows import training

from ..warm_python import warm_python

LINE = "ablate --temporal gru lstm --seeds 2 --metrics bleu mse --out ab --data data/storyworld"


class Ended:
    def done(self):
        return True

    def stop(self):
        raise AssertionError("it has ended")


@pytest.fixture
def started(started_here):
    """Have cells run in this process. Return the list of started cells."""
    return started_here(Ended())


def test_ablation_runs_once_and_repeats_nothing(vsr, prepared_folder, started):
    answer = vsr(f"{LINE} --json")
    assert answer.code == 0, answer.err
    assert started == ["gru_seed0", "lstm_seed0", "gru_seed1", "lstm_seed1"]
    result = json.loads(answer.out)
    assert result == json.loads((prepared_folder / "ab/result.json").read_text())
    assert [combination["label"] for combination in result["combinations"]] == ["gru", "lstm"]
    assert [combination["seeds"] for combination in result["combinations"]] == [[0, 1], [0, 1]]
    gru, lstm = (combination["parameters"]["trained"] for combination in result["combinations"])
    assert lstm > gru > 1000
    base, other = result["metrics"]["mse"]["scores"]
    assert {"value", "seeds", "baselines"} <= base.keys()
    assert "verdict" not in base
    assert other["difference"] == pytest.approx(other["value"] - base["value"])
    assert base["seeds"][0] != base["seeds"][1]
    assert (prepared_folder / "ab/ablation.png").stat().st_size > 10_000
    assert "| gru |" in (prepared_folder / "ab/ablation.md").read_text()
    for name in started:
        run = json.loads((prepared_folder / "ab/runs" / name / "config.json").read_text())
        assert [run["temporal"]["name"], f"seed{run['training']['seed']}"] == name.split("_")
    started.clear()
    again = vsr(LINE)
    assert again.code == 0
    assert started == []
    assert "4 of 4 runs are already done" in again.err
    assert "baselines: mean over the combinations" in again.out
    other = vsr(f"{LINE} --seeds 3")
    assert other.code == 2
    assert other.errors == [
        "--out ab: holds another plan (other: cells); "
        "repeat the original command to continue it, or name another folder"
    ]
    listed = json.loads(vsr("runs list ab/runs --json").out)
    assert {run["status"] for run in listed} == {"finished"}


def test_failed_cell_is_retried_by_the_same_command(vsr, prepared_folder, started, monkeypatch):
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
    started.clear()
    assert vsr(line).code == 0
    assert started == ["lstm_seed0"]


def test_max_minutes_stops_before_the_next_run(vsr, prepared_folder, started):
    answer = vsr(f"{LINE} --max-minutes 0")
    assert answer.code == 0
    assert started == []
    missing = "gru_seed0, lstm_seed0, gru_seed1, lstm_seed1"
    assert f"not run, since the time was over: {missing}; the same command resumes" in answer.err
    assert "no run has finished yet" in answer.out


def test_default_folder_depends_on_the_command(vsr, prepared_folder, started):
    for words in ("--temporal gru lstm", "--temporal gru lstm", "--temporal lstm gru", "--grid model.width=16,32"):
        assert vsr(f"ablate {words} --max-minutes 0").code == 0
    assert sorted(path.name.rpartition("_")[0] for path in (prepared_folder / "ablations").iterdir()) == [
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
        ("--temporal gru --launcher rey", ["'--launcher'", "'rey' is not one of 'local', 'submitit', 'ray'"]),
        ("--temporal gru --job timeout_min=3", ["--job: needs --launcher submitit"]),
        ("--temporal gru --launcher submitit --job fast", ["--job fast: not of the form key=value"]),
        ("--temporal gru --out data", ["--out data: exists and is not an ablation"]),
    ],
)
def test_ablate_errors_come_before_training(vsr, prepared_folder, started, words, said):
    answer = vsr(f"ablate {words}")
    assert answer.code == 2
    together = "\n".join(answer.errors)
    assert together
    for part in said:
        assert part in together
    assert started == []


def test_missing_encoder_is_reported_before_training(vsr, prepared_folder, started):
    answer = vsr("ablate --text tiny-text hf-text --set text.model=absent/model --data data/storyworld --out ab")
    assert answer.code == 2
    assert started == []


def start(line, **environment):
    return subprocess.Popen(
        [*warm_python(), "-m", "vsr_cli", *shlex.split(line)],
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
def test_killed_ablation_resumes_with_the_same_command(vsr, prepared_folder):
    line = "ablate --temporal gru --seeds 1 --epochs 400 --metrics mse --out ab --data data/storyworld"
    killed = start(line)
    wait_for(prepared_folder / "ab/runs/default_seed0/checkpoints/last")
    killed.kill()
    killed.communicate()
    # The cell's own process sees that its parent is gone, saves a checkpoint and ends.
    facts, history = (prepared_folder / "ab/runs/default_seed0" / name for name in ("run.json", "history.jsonl"))
    until = time.monotonic() + 60
    while json.loads(facts.read_text())["status"] == "running":
        assert time.monotonic() < until
        time.sleep(0.1)
    assert json.loads(facts.read_text())["status"] == "interrupted"
    # Typed again, and stopped as by a scheduler: the running cell saves a checkpoint.
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


def test_submitit_runs_a_command(tmp_path):
    pytest.importorskip("submitit")
    job = engines.ClusterJobs(tmp_path / "jobs", {"cluster": "local", "timeout_min": "3"}).start(
        ["tune-cell", "absent"], tmp_path / "log"
    )
    until = time.monotonic() + 120
    while not job.done():
        assert time.monotonic() < until
        time.sleep(0.1)
    assert (tmp_path / "log").read_text().startswith("error: absent")


@pytest.mark.slow
def test_ray_runs_a_command_and_stops_one(tmp_path):
    ray = pytest.importorskip("ray")
    handler = signal.getsignal(signal.SIGTERM)
    tasks = engines.RayTasks({"num_cpus": "1"})  # starts Ray on this machine
    try:
        done = tasks.start(["tune-cell", "absent"], tmp_path / "log")
        code = "import time; print('begun', flush=True); time.sleep(600)"
        line = [sys.executable, "-c", code]
        endless = engines.RayTask(ray, lambda: tasks._task.remote(line, str(tmp_path / "endless"), str(tmp_path)))
        until = time.monotonic() + 120
        while not (done.done() and (tmp_path / "endless").exists() and (tmp_path / "endless").read_text()):
            assert time.monotonic() < until
            time.sleep(0.1)
        assert (tmp_path / "log").read_text().startswith("error: absent")
        endless.stop()
        while not endless.done():
            assert time.monotonic() < until
            time.sleep(0.1)
        with pytest.raises(VsrError, match="--job: Ray refuses these settings"):
            engines.RayTasks({"num_cpsu": "1"})
    finally:
        ray.shutdown()
        signal.signal(signal.SIGTERM, handler)  # Ray keeps its own, which other tests of this process would find


@pytest.mark.parametrize("lost", ["OutOfMemoryError", "WorkerCrashedError", "NodeDiedError"])
def test_a_task_that_ray_loses_is_submitted_once_more(lost, capfd):
    errors = type("Errors", (), {"RayError": type("RayError", (Exception,), {})})
    for name in ("OutOfMemoryError", "WorkerCrashedError", "NodeDiedError", "TaskCancelledError"):
        setattr(errors, name, type(name, (errors.RayError,), {}))

    class Ray:
        exceptions = errors

        def wait(self, tasks, *, timeout):
            return tasks, []

        def get(self, task):
            raise getattr(errors, task)

        def cancel(self, task, *, force):
            pass

    def tasks(*ends):
        ends = iter(ends)
        return engines.RayTask(Ray(), lambda: next(ends))

    twice = tasks(lost, lost)
    assert [twice.done(), twice.done()] == [False, True]
    assert len(capfd.readouterr().err.splitlines()) == 1
    assert tasks("TaskCancelledError").done()
    stopped = tasks(lost)
    stopped.stop()
    assert stopped.done()


def test_unknown_submitit_option_is_one_line(vsr, prepared_folder):
    pytest.importorskip("submitit")
    answer = vsr("ablate --temporal gru --out ab --launcher submitit --job cluster=local slurm_partitoin=gpu")
    assert answer.code == 2
    (error,) = answer.errors
    assert "partitoin" in error


def test_ablate_without_available_metric_trains_nothing(vsr, prepared_folder, started):
    answer = vsr("ablate --temporal gru lstm --seeds 1 --metrics bertscore clipscore --out ab --data data/storyworld")
    assert answer.code == 2
    assert [line.partition(":")[0] for line in answer.errors] == ["bertscore", "clipscore"]
    assert started == []
    assert not (prepared_folder / "ab").exists()
