"""Interrupted, killed and failed runs resume bit-exactly."""

import fcntl
import json
import os
import resource
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from vsr_cli.api import VsrError
from vsr_cli.data.prepared import open_prepared
from vsr_cli.files.atomic import replacing_folder, whole_folder, write_json
from vsr_cli.plugin.discovery import registry
from vsr_cli.runs.run import Run
from vsr_cli.training.checkpoints import random_state, set_random_state
from vsr_cli.training.graceful_shutdown import Interrupted
from vsr_cli.workflows.training import resume_train

from ..warm_python import warm_python

# Dropout draws from the generators of random numbers, whose state must survive too.
SETTINGS = ("temporal.dropout=0.2", "training.schedule=cosine", "training.warmup_ratio=0.3")
STEPS = 7
"""Of an epoch; the runs here have two."""
HANDLERS = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
"""As they are before anything is trained: a shell's background job ignores Ctrl-C."""


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch):
    """Draw no curves: it takes longer than the training, and is not what is resumed."""
    monkeypatch.setattr("vsr_cli.workflows.training._draw_curves", lambda run: None)


@pytest.fixture(scope="module")
def whole(train_small, tmp_path_factory):
    """A run that nothing disturbs."""
    return train_small(tmp_path_factory.mktemp("whole") / "run", *SETTINGS)


def resume(run, **options):
    return resume_train(registry(), run.folder, **{"data": None, "epochs": None, **options})


def what_matters(run):
    """Return all that a run holds, except times."""
    rows = [json.loads(line) for line in run.history.read_text().splitlines()]
    for row in rows:
        del row["seconds"], row["windows_per_second"], row["checksum"]
    state = json.loads((run.checkpoint("last") / "state.json").read_text())
    del state["progress"]["history_bytes"], state["checksum"]  # the rows' numbers have more digits or fewer
    files = ("last/model.safetensors", "last/state.safetensors", "best/model.safetensors")
    weights = {name: (run.checkpoint(name.split("/")[0]) / name.split("/")[1]).read_bytes() for name in files}
    frozen = (run.folder / "frozen.safetensors").read_bytes()
    return rows, state, frozen, weights


def signalling(number):
    def act(losses):
        os.kill(os.getpid(), number)
        return losses

    return act


def failing(losses):
    raise ZeroDivisionError


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("step", [1, STEPS, STEPS + 1, STEPS + 3, 2 * STEPS])
def test_an_interrupted_run_resumes_bit_exactly(train_small, whole, at_step, tmp_path, capsys, step, number):
    at_step(step, signalling(number))
    with pytest.raises(Interrupted) as stopped:
        train_small(tmp_path / "run", *SETTINGS)
    assert stopped.value.code == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}[number]
    run = Run(tmp_path / "run")
    assert f"vsr train --resume {run.folder}" in capsys.readouterr().err.splitlines()[-1]
    assert run.facts()["status"] == "interrupted"
    assert run.facts()["problem"] == f"interrupted by {number.name}"
    state = json.loads((run.checkpoint("last") / "state.json").read_text())["progress"]
    assert STEPS * (state["epoch"] - 1) + state["step"] == step
    resume(run)
    assert run.facts()["status"] == "finished"
    assert run.facts()["problem"] is None
    assert what_matters(run) == what_matters(whole)


@pytest.mark.parametrize("step", [1, 3, STEPS + 1])
def test_a_failed_run_resumes_from_its_last_checkpoint_or_its_start(train_small, whole, at_step, tmp_path, step):
    at_step(step, failing)
    with pytest.raises(ZeroDivisionError):
        train_small(tmp_path / "run", *SETTINGS)
    run = Run(tmp_path / "run")
    assert run.facts()["status"] == "failed"
    assert run.checkpoint("last").exists() == (step > STEPS)
    resume(run)
    assert what_matters(run) == what_matters(whole)


def test_a_run_is_interrupted_again_and_again(train_small, whole, at_step, tmp_path):
    at_step(2, signalling(signal.SIGINT))
    with pytest.raises(Interrupted):
        train_small(tmp_path / "run", *SETTINGS)
    run = Run(tmp_path / "run")
    for step in (4, 3, 1):
        at_step(step, signalling(signal.SIGTERM))
        with pytest.raises(Interrupted):
            resume(run)
    resume(run)
    assert what_matters(run) == what_matters(whole)
    assert len(run.facts()["resumed"]) == 4


def test_an_ignored_hangup_remains_ignored(train_small, at_step, tmp_path):
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        at_step(2, signalling(signal.SIGHUP))
        run = train_small(tmp_path / "run", *SETTINGS)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert run.facts()["status"] == "finished"


def test_a_closed_terminal_loses_nothing(train_small, whole, at_step, tmp_path, monkeypatch):
    def gone(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("vsr_cli.training.graceful_shutdown.os.write", gone)
    at_step(2, signalling(signal.SIGHUP))
    with pytest.raises(Interrupted):
        train_small(tmp_path / "run", *SETTINGS)
    resume(Run(tmp_path / "run"))
    assert what_matters(Run(tmp_path / "run")) == what_matters(whole)


def test_a_second_ctrl_c_stops_at_once(train_small, whole, at_step, tmp_path):
    def press_twice(losses):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("it went on")

    at_step(STEPS + 2, press_twice)
    with pytest.raises(KeyboardInterrupt):
        train_small(tmp_path / "run", *SETTINGS)
    run = Run(tmp_path / "run")
    assert run.facts()["status"] == "interrupted"
    resume(run)
    assert what_matters(run) == what_matters(whole)


def test_signal_handlers_are_restored_after_training(whole):
    assert {number: signal.getsignal(number) for number in HANDLERS} == HANDLERS


def test_rows_after_the_checkpoint_and_incomplete_files_are_removed(train_small, whole, at_step, tmp_path):
    at_step(STEPS + 1, failing)
    with pytest.raises(ZeroDivisionError):
        train_small(tmp_path / "run", *SETTINGS)
    run = Run(tmp_path / "run")
    run.update(status="running")  # as a killed process leaves it
    run.append_history({"epoch": 2, "train": {}})
    with run.history.open("a") as lines:
        lines.write('{"epoch": 3, "tra')
    (run.checkpoints / ".last.abc").mkdir()
    (run.checkpoints / ".last.abc/model.safetensors").write_text("half")
    (run.folder / ".run.json.abc.json").write_text("{")
    resume(run)
    assert what_matters(run) == what_matters(whole)
    assert not list(run.folder.rglob(".*"))


def test_resuming_a_finished_run_does_nothing(whole, capsys):
    before = what_matters(whole)
    for epochs in (None, 2):
        resume(whole, epochs=epochs)
        assert "nothing to do" in capsys.readouterr().err
    assert what_matters(whole) == before


def test_a_finished_run_trains_on_for_more_epochs(train_small, tmp_path):
    steady = ("temporal.dropout=0.2", "training.schedule=constant", "training.warmup_ratio=0")
    run = train_small(tmp_path / "run", *steady)
    resume(run, epochs=3)
    assert run.config()["training"]["epochs"] == 3
    longer = train_small(tmp_path / "longer", *steady, "training.epochs=3")
    assert what_matters(run) == what_matters(longer)


def test_a_resumed_cosine_schedule_spans_all_epochs(train_small, tmp_path):
    run = train_small(tmp_path / "run", *SETTINGS)
    before = json.loads(run.history.read_text().splitlines()[-1])["learning_rate"]
    resume(run, epochs=4)
    longer = train_small(tmp_path / "longer", *SETTINGS, "training.epochs=4")
    rates = [
        [json.loads(line)["learning_rate"] for line in made.history.read_text().splitlines()] for made in (run, longer)
    ]
    assert rates[0][2:] == rates[1][2:]
    assert before < rates[0][2]


def test_fewer_epochs_are_refused(whole):
    with pytest.raises(VsrError, match=r"^--epochs 1: .* has 2; .*can only have more$"):
        resume(whole, epochs=1)


def test_resuming_accepts_moved_data_and_refuses_changed_data(train_small, small_data, whole, at_step, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(small_data, data)
    at_step(3, signalling(signal.SIGINT))
    with pytest.raises(Interrupted):
        train_small(tmp_path / "run", *SETTINGS, data=data)
    run = Run(tmp_path / "run")
    other = tmp_path / "other"
    shutil.copytree(data, other)
    write_json(other / "manifest.json", open_prepared(other).manifest | {"fingerprint": "0" * 64})
    with pytest.raises(VsrError, match=r"not the data that .* was trained on"):
        resume(run, data=other)
    data.rename(tmp_path / "moved")
    with pytest.raises(VsrError, match="does not exist any more; name its folder with --data DIR"):
        resume(run)
    assert run.facts()["status"] == "interrupted"
    resume(run, data=tmp_path / "moved")
    assert Path(run.facts()["data"]) == tmp_path / "moved"
    assert what_matters(run) == what_matters(whole)


def test_a_run_is_trained_by_one_process_at_a_time(train_small, at_step, tmp_path):
    at_step(1, failing)
    with pytest.raises(ZeroDivisionError):
        train_small(tmp_path / "run", *SETTINGS)
    held = os.open(tmp_path / "run", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    before = (tmp_path / "run/run.json").read_bytes()
    with pytest.raises(VsrError, match="another process is training this run"):
        resume(Run(tmp_path / "run"))
    os.close(held)
    assert (tmp_path / "run/run.json").read_bytes() == before


def limit_files_to(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


@pytest.mark.parametrize("size", [4_000, 100_000, 1_000_000], ids=["history", "weights", "state"])
def test_a_full_disk_leaves_the_previous_checkpoint_intact(train_small, whole, at_step, tmp_path, size):
    """A limit on the size of files stands for a full disk: the system refuses the write in the same way."""

    def fill(losses):
        limit_files_to(size)
        return losses

    at_step(STEPS + 2, fill)
    try:
        with pytest.raises(VsrError, match="free some space, then continue with 'vsr train --resume") as raised:
            train_small(tmp_path / "run", *SETTINGS, "training.checkpoint_minutes=0")
    finally:
        limit_files_to(resource.RLIM_INFINITY)
    assert "\n" not in str(raised.value)
    run = Run(tmp_path / "run")
    assert run.facts()["status"] == "failed"
    assert not list(run.checkpoints.glob(".*"))
    resume(run)
    assert what_matters(run)[0] == what_matters(whole)[0]
    assert what_matters(run)[3] == what_matters(whole)[3]


def test_a_damaged_state_is_a_one_line_error(train_small, at_step, tmp_path):
    at_step(3, signalling(signal.SIGINT))
    with pytest.raises(Interrupted):
        train_small(tmp_path / "run", *SETTINGS)
    run = Run(tmp_path / "run")
    state = run.checkpoint("last") / "state.safetensors"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(VsrError, match=r"state\.safetensors: is damaged"):
        resume(run)


def filled(folder, text):
    folder.mkdir(parents=True)
    (folder / "file").write_text(text)


def replace_badly(target):
    with replacing_folder(target) as folder:
        (folder / "file").write_text("newest")
        raise ZeroDivisionError


def test_an_interrupted_replacement_leaves_the_newer_folder(tmp_path):
    """The moments at which a killed process can have left the two folders, and what is read then."""
    target = tmp_path / "last"
    filled(target, "older")
    filled(tmp_path / ".last.xyz", "half")
    assert (whole_folder(target) / "file").read_text() == "older"
    filled(tmp_path / ".last.new", "newer")
    assert (whole_folder(target) / "file").read_text() == "newer"
    shutil.move(target, tmp_path / ".last.old.xyz")
    assert (whole_folder(target) / "file").read_text() == "newer"
    with pytest.raises(ZeroDivisionError):
        replace_badly(target)
    assert (whole_folder(target) / "file").read_text() == "newer"
    with replacing_folder(target, to_disk=True) as folder:
        (folder / "file").write_text("newest")
    assert (target / "file").read_text() == "newest"
    assert whole_folder(target) == target


def test_random_number_generators_are_restored():
    import random

    import numpy as np
    import torch

    def draw():
        return random.random(), float(np.random.random()), float(np.random.normal()), float(torch.rand(1))

    device = torch.device("cpu")
    np.random.normal()  # which keeps a second number back for the next call
    state = random_state(device)
    first = draw()
    assert draw() != first
    set_random_state(state, device)
    assert draw() == first


@pytest.mark.slow
def test_a_run_killed_at_any_moment_resumes_bit_exactly(small_data, small_settings, tmp_path):
    """Twenty-five processes are killed at random moments, and what they leave is compared with an undisturbed run."""
    settings = [*small_settings, *SETTINGS, "training.epochs=4", "training.checkpoint_minutes=0"]
    done = subprocess.run(
        [
            *warm_python(),
            Path(__file__).with_name("kill_while_training.py"),
            tmp_path,
            small_data,
            "25",
            "0",
            *settings,
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    undisturbed = what_matters(Run(tmp_path / "whole"))
    for number in range(report["runs"]):
        assert what_matters(Run(tmp_path / f"killed-{number}")) == undisturbed
    assert report["killed_while_writing"] > 0
