"""Several processes take the same steps as one with their batches together."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from torch.distributed import HashStore

from vsr_cli.api import Context, VsrError
from vsr_cli.cli.train import resume_train
from vsr_cli.model.losses.alignment import Alignment
from vsr_cli.plugin.discovery import registry
from vsr_cli.runs.run import Run
from vsr_cli.training import distributed as processes
from vsr_cli.training import loop, meeting
from vsr_cli.training.heartbeat import OthersLost, SignsOfLife
from vsr_cli.training.meeting import Meeting, SomeoneRanOut

PROGRAM = Path(__file__).with_name("train_together.py")
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def context(story, text_row, mask):
    nothing = torch.empty(0)
    return Context(
        visual=nothing,
        text=nothing,
        text_ids=nothing,
        text_mask=nothing,
        mask=torch.tensor(mask),
        last_image=nothing,
        story=torch.tensor(story),
        text_row=torch.tensor(text_row),
    )


# Three stories of two frames: one frame is padding, and two frames of story 7 have one text, in different processes.
WHOLE = ([7, 8, 7], [[0, 1], [2, 3], [0, 4]], [[True, True], [True, False], [True, True]])
SHARES = (slice(0, 2), slice(2, 3))


def test_processes_that_share_a_batch_have_the_loss_and_gradient_of_the_whole(monkeypatch):
    """Each process is played in turn, with what the other one would have brought to the meeting."""
    generator = torch.Generator().manual_seed(1)
    images, texts = (torch.randn(3, 2, 5, generator=generator, requires_grad=True) for _ in range(2))
    alone = Alignment()
    whole = alone(images, texts, context=context(*WHOLE))
    whole.backward()
    expected = [images.grad, texts.grad, alone.log_inverse_temperature.grad]

    def share(module, rows, gather):
        module.gather = gather
        return module(images[rows], texts[rows], context=context(*(part[rows] for part in WHOLE)))

    brought = [[], []]
    for rows, own in zip(SHARES, brought, strict=True):
        share(Alignment(), rows, lambda tensors, own=own: own.extend(tensors) or tensors)
    counts = [len(own[0]) for own in brought]
    assert counts == [3, 2]
    images.grad = texts.grad = None
    temperature = torch.zeros(())
    for index, rows in enumerate(SHARES):
        calls = iter(range(4))

        def bring(padded, accelerator, calls=calls):
            number = next(calls)
            theirs = [own[number].detach() for own in brought]
            assert torch.equal(padded[: counts[accelerator.process_index]], theirs[accelerator.process_index])
            return torch.nn.utils.rnn.pad_sequence(theirs, batch_first=True)

        monkeypatch.setattr(meeting, "exchange", lambda values, accelerator: [[0.0, float(count)] for count in counts])
        monkeypatch.setattr(meeting, "gather_equal", bring)
        module = Alignment()
        loss = share(module, rows, Meeting(SimpleNamespace(process_index=index, num_processes=2)))
        assert loss.item() == pytest.approx(whole.item(), rel=1e-6)
        (loss / 2).backward()
        temperature += module.log_inverse_temperature.grad
    for mine, its in zip([images.grad, texts.grad, temperature], expected, strict=True):
        assert torch.allclose(mine, its, rtol=1e-5, atol=1e-7)


def test_a_process_without_windows_takes_part_in_the_meeting(monkeypatch):
    module, brought = Alignment(), []
    module.gather = brought.extend
    module.gather_without_frames(5)
    assert [tuple(tensor.shape) for tensor in brought] == [(0, 5), (0, 5), (0,), (0,)]
    assert [tensor.dtype for tensor in brought] == [torch.float32, torch.float32, torch.int64, torch.int64]


def test_all_learn_at_the_meeting_that_one_ran_out_of_memory(monkeypatch):
    monkeypatch.setattr(meeting, "exchange", lambda values, accelerator: [values, [1.0, 0.0]])
    with pytest.raises(SomeoneRanOut):
        Meeting(Accelerator(cpu=True)).hold(rows=3)


def test_a_lost_connection_is_told_without_the_library_s_own_places():
    text = "[/w/gloo/transport/tcp/pair.cc:545] Connection closed by peer [127.0.0.1]:4711. This is typically caused by"
    with (
        pytest.raises(OthersLost, match=r"^Connection closed by peer \[127\.0\.0\.1\]:4711$"),
        processes._reaching_others(),
    ):
        raise RuntimeError(text)


class Clock:
    """A time that goes on when it is told to."""

    now = 0.0

    def __call__(self):
        return self.now


def test_processes_wait_for_one_that_is_at_work_and_not_for_one_that_is_gone():
    store, clock = HashStore(), Clock()
    first, second, third = (SignsOfLife(store, index=index, count=3, limit=60, clock=clock) for index in range(3))
    first.come()
    for _ in range(10):  # the second works for nine minutes, and the third has come long ago
        for each in (third, second, first):
            each.look()
        third.come() if not clock.now else None
        assert not first.is_complete()
        clock.now += 59
    second.come()
    for each in (second, third, first, second, third):
        each.look()
    assert all(each.is_complete() for each in (first, second, third))

    first.come()
    third.come()
    for seconds in (0, 59, 2):
        assert not first.is_complete()
        clock.now += seconds
        for each in (third, first):
            each.look()
    for each in (first, third):
        with pytest.raises(OthersLost, match=r"process 1 has given no sign for 1 minutes"):
            each.is_complete()


def test_a_store_that_does_not_answer_is_noticed():
    clock = Clock()
    signs = SignsOfLife(HashStore(), index=1, count=2, limit=60, clock=clock)
    signs.look()
    signs.come()
    clock.now += 61
    with pytest.raises(OthersLost, match="the first process has not answered for 1 minutes"):
        signs.is_complete()


@pytest.mark.slow
@pytest.mark.parametrize("process", [0, 1])
def test_a_process_that_hangs_ends_the_training_after_the_timeout(small_data, settings, tmp_path, process):
    """As one does that a cut network keeps from the others."""
    more = ("--set", "training.timeout_minutes=0.05", "--set", "training.checkpoint_minutes=0", "--batch-size", "4")
    command = [*TORCHRUN, PROGRAM, *words(small_data, "run", settings, *more)]
    done = run_words(command, tmp_path, HANG_AT=f"process {process}, epoch 2, step 2")
    assert done.returncode != 0
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "another process of this training has ended or cannot be reached" in error
    assert "vsr train --resume run" in error


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (lambda checkpoint, data: (checkpoint, "0" * 64), r"process 1 has other data there"),
        (lambda checkpoint, data: (not checkpoint, data), r"process 1 does not see this folder"),
    ],
)
def test_processes_that_see_other_folders_are_refused(train_small, tmp_path, monkeypatch, other, says):
    def answered(value, accelerator):
        return [value, other(*value)]

    monkeypatch.setattr(loop, "exchange_objects", answered)
    with pytest.raises(VsrError, match=says):
        train_small(tmp_path / "run")


SLOWLY = "training.learning_rate=0.0005"
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
    done = run_words([sys.executable, PROGRAM, *words(small_data, "run", settings, "--batch-size", "8")], folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def together(small_data, settings, tmp_path_factory):
    """Two processes with batches of four: of each epoch's last step, one of them has no window."""
    folder = tmp_path_factory.mktemp("together")
    done = run_words([*TORCHRUN, PROGRAM, *words(small_data, "run", settings, "--batch-size", "4")], folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stderr


@dataclass(frozen=True)
class Tolerance:
    """By how much two ways of working together may be apart, for rounding alone."""

    loss: float
    weight: float
    """Of every weight. Adam may change one by the learning rate at each of the ten steps, which is 5e-3 in all."""
    mean_weight: float
    """Of the mean over all weights."""


# In bf16 the sign of a gradient next to nothing is noise, and Adam takes its step all the same: the mean decides.
TOLERANCES = {
    "fp32": Tolerance(loss=1e-5, weight=3e-5, mean_weight=3e-5),
    "bf16": Tolerance(loss=2e-2, weight=5e-3, mean_weight=3e-4),
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
@pytest.mark.both_precisions
def test_two_processes_take_the_steps_of_one_with_the_double_batch(alone, together, tolerance):
    folder, said = together
    ones, others = steps(alone / "steps-0.jsonl"), steps(folder / "steps-0.jsonl")
    assert len(ones) == len(others) == 8
    for one, other in zip(ones, others, strict=True):
        assert one == pytest.approx(other, abs=tolerance.loss)
    assert steps(folder / "steps-1.jsonl") == others
    runs = Run(alone / "run"), Run(folder / "run")
    same_weights(*runs, tolerance)
    for one, other in zip(*(steps(run.history) for run in runs), strict=True):
        for split in ("train", "validation"):
            assert one[split] == pytest.approx(other[split], abs=tolerance.loss)
    assert "shared by 2 processes" in said or "2 processes" in said
    assert len([line for line in said.splitlines() if line.startswith("epoch ")]) == 2


@pytest.mark.slow
def test_a_mistake_is_one_line_and_exit_code_2_of_each_process(small_data, settings, tmp_path):
    done = run_words([*TORCHRUN, PROGRAM, *words(small_data, "run", settings, "--temporal", "gruu")], tmp_path)
    assert done.returncode != 0
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "did you mean gru?" in error
    assert "exitcode  : 2" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("process", [0, 1])
def test_a_killed_process_ends_all_with_one_line_and_one_process_goes_on(
    small_data, settings, alone, tmp_path, process, tolerance
):
    """The process is killed in the second epoch; the one that goes on takes steps of the same size."""
    more = ("--set", "training.checkpoint_minutes=0", "--batch-size", "4")
    command = [*TORCHRUN, PROGRAM, *words(small_data, "run", settings, *more)]
    done = run_words(command, tmp_path, DIE_AT=f"process {process}, epoch 2, step 2")
    assert done.returncode != 0
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "another process of this training has ended" in error
    assert "vsr train --resume run" in error
    assert len(steps(tmp_path / "steps-0.jsonl")) == 6
    run = Run(tmp_path / "run")
    assert run.facts()["status"] == ("running" if process == 0 else "failed")
    state = json.loads((run.checkpoint("last") / "state.json").read_text())["progress"]
    assert (state["epoch"], state["step"]) == (2, 1)
    resume_train(registry(), run.folder, data=None, epochs=None)
    assert run.facts()["status"] == "finished"
    same_weights(Run(alone / "run"), run, tolerance)
