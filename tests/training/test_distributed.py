"""Two processes take the same steps as one with the double batch."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vsr_cli.api import VsrError
from vsr_cli.plugin.discovery import registry
from vsr_cli.runs.run import Run
from vsr_cli.training import distributed
from vsr_cli.training.distributed import lost_process
from vsr_cli.workflows.training import resume_train

from ..warm_python import torchrun, warm_python

PROGRAM = Path(__file__).with_name("train_together.py")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            "[/w/gloo/transport/tcp/pair.cc:545] Connection closed by peer [127.0.0.1]:4711. This is typically due to",
            "Connection closed by peer [127.0.0.1]:4711",
        ),
        ("mat1 and mat2 shapes cannot be multiplied", None),
    ],
)
def test_an_error_about_a_lost_process_is_recognized(error, reason):
    assert lost_process(RuntimeError(error)) == reason


@pytest.mark.slow
def test_a_process_that_hangs_ends_the_training_after_the_timeout(small_data, settings, tmp_path):
    """Let process 1 hang, as if the network between the two was lost."""
    more = ("--set", "training.timeout_minutes=0.05", "--set", "training.checkpoint_minutes=0", "--batch-size", "4")
    command = [*torchrun(), PROGRAM, *words(small_data, "run", settings, *more)]
    done = run_words(command, tmp_path, HANG_AT="process 1, epoch 2, step 2")
    assert done.returncode != 0
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "another process of this training has ended or cannot be reached" in error
    assert "vsr train --resume run" in error
    assert Run(tmp_path / "run").facts()["status"] == "failed"


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (lambda checkpoint, data: (checkpoint, "0" * 64), r"process 1 has other data there"),
        (lambda checkpoint, data: (not checkpoint, data), r"process 1 does not see this folder"),
    ],
)
def test_processes_that_see_other_folders_are_refused(train_small, tmp_path, monkeypatch, other, says):
    def gathered(values):
        return [*values, other(*values[0])] if isinstance(values[0], tuple) else values

    monkeypatch.setattr(distributed, "gather_object", gathered)
    with pytest.raises(VsrError, match=says):
        train_small(tmp_path / "run")


SLOWLY = "training.learning_rate=0.00005"
"""Adam divides by the gradient's own size: where that is next to nothing, sums taken in another order move a weight by
as much as the learning rate, whatever the way of working together. A small rate keeps that apart from real mistakes."""


def words(data, out, settings, *more):
    return [
        "train",
        "--data",
        str(data),
        "--out",
        str(out),
        *(word for item in [*settings, SLOWLY] for word in ("--set", item)),
        *more,
    ]


def run_words(command, folder, **environment):
    given = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(command, cwd=folder, env=given, capture_output=True, text=True, check=False)


def steps(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def settings(small_settings):
    return [item for item in small_settings if "batch_size" not in item]


@pytest.fixture(scope="module")
def alone(small_data, settings, tmp_path_factory):
    """One process with batches of eight, the last of an epoch being a single window."""
    folder = tmp_path_factory.mktemp("alone")
    done = run_words([*warm_python(), PROGRAM, *words(small_data, "run", settings, "--batch-size", "8")], folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def together(small_data, settings, tmp_path_factory):
    """Two processes with batches of four: of each epoch's last step, one of them has no window."""
    folder = tmp_path_factory.mktemp("together")
    done = run_words([*torchrun(), PROGRAM, *words(small_data, "run", settings, "--batch-size", "4")], folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stderr


@dataclass(frozen=True)
class Tolerance:
    """By how much two ways of working together may be apart, for rounding alone."""

    first_losses: float
    """Of the first two steps, which no or one update precedes: later ones repeat what Adam made of rounding."""
    loss: float
    weight: float
    """Of every weight. Adam may change one by the learning rate at each of the eight steps, which is 4e-4 in all."""
    mean_weight: float
    """Of the mean over all weights."""


# The sign of a gradient next to nothing is noise, and Adam takes its step all the same: the mean decides. How many
# there are depends on the processor: with AVX-512 a tenth of a percent of the weights, with AVX2 a tenth of that.
TOLERANCES = {
    "fp32": Tolerance(first_losses=1e-6, loss=1e-3, weight=4e-4, mean_weight=1e-6),
    "bf16": Tolerance(first_losses=2e-2, loss=2e-2, weight=4e-4, mean_weight=3e-5),
}


@pytest.fixture
def tolerance(precision):
    return TOLERANCES[precision]


def same_weights(one, other, tolerance):
    """Compare weights. Adam divides by the gradient's own size, so that the last digits of a tiny one count in full."""
    for which in ("last", "best"):
        ours, theirs = (load_file(run.checkpoint(which) / "model.safetensors") for run in (one, other))
        assert ours.keys() == theirs.keys()
        apart = {name: (tensor - theirs[name]).abs() for name, tensor in ours.items()}
        for name, differences in apart.items():
            assert differences.max() <= tolerance.weight, name
        assert torch.cat([differences.flatten() for differences in apart.values()]).mean() <= tolerance.mean_weight


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one_with_the_double_batch(alone, together, tolerance):
    folder, said = together
    ones, others = steps(alone / "steps-0.jsonl"), steps(folder / "steps-0.jsonl")
    assert len(ones) == len(others) == 8
    for number, (one, other) in enumerate(zip(ones, others, strict=True)):
        assert one == pytest.approx(other, abs=tolerance.first_losses if number < 2 else tolerance.loss)
    assert steps(folder / "steps-1.jsonl") == others
    runs = Run(alone / "run"), Run(folder / "run")
    same_weights(*runs, tolerance)
    for one, other in zip(*(steps(run.history) for run in runs), strict=True):
        for split in ("train", "validation"):
            assert one[split] == pytest.approx(other[split], abs=tolerance.loss)
    assert "shared by 2 processes" in said or "2 processes" in said
    assert len([line for line in said.splitlines() if line.startswith("epoch ")]) == 2


@pytest.mark.slow
def test_a_usage_error_is_one_line_and_exit_code_2_in_each_process(small_data, settings, tmp_path):
    done = run_words([*torchrun(), PROGRAM, *words(small_data, "run", settings, "--temporal", "gruu")], tmp_path)
    assert done.returncode != 0
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    assert "did you mean gru?" in errors[0]
    assert "exitcode  : 2" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_killed_process_ends_all_with_one_error_and_the_run_resumes_in_one_process(
    small_data, settings, alone, tmp_path, tolerance
):
    """Kill the main process in the second epoch; the single process that resumes takes steps of the same size."""
    more = ("--set", "training.checkpoint_minutes=0", "--batch-size", "4")
    command = [*torchrun(), PROGRAM, *words(small_data, "run", settings, *more)]
    done = run_words(command, tmp_path, DIE_AT="process 0, epoch 2, step 2")
    assert done.returncode != 0
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "another process of this training has ended" in error
    assert "vsr train --resume run" in error
    assert len(steps(tmp_path / "steps-0.jsonl")) == 6
    run = Run(tmp_path / "run")
    assert run.facts()["status"] == "running"
    state = json.loads((run.checkpoint("last") / "state.json").read_text())["progress"]
    assert (state["epoch"], state["step"]) == (2, 1)
    resume_train(registry(), run.folder, data=None, epochs=None)
    assert run.facts()["status"] == "finished"
    same_weights(Run(alone / "run"), run, tolerance)
