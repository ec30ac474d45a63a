"""Precision of training, and torch's compiler."""

import functools
import json
import os

import pytest
import torch
from safetensors.torch import load_file

from vsr_cli.api import VsrError
from vsr_cli.config.schema import TrainingOptions
from vsr_cli.plugin.discovery import registry
from vsr_cli.runs.run import Run
from vsr_cli.training import distributed as processes
from vsr_cli.training.graceful_shutdown import Interrupted
from vsr_cli.workflows.settings import train_config
from vsr_cli.workflows.training import resume_train


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch):
    monkeypatch.setattr("vsr_cli.workflows.training._draw_curves", lambda run: None)


@pytest.fixture(autouse=True)
def _anew():
    """Let torch forget what it has compiled."""
    torch.compiler.reset()


def stop(losses):
    os.kill(os.getpid(), 2)
    return losses


@pytest.mark.parametrize("wanted", ["auto", "fp32"])
def test_a_cpu_trains_in_fp32_whatever_instructions_it_has(monkeypatch, wanted):
    """The same command has the same numbers on all of them: bf16 is used where it is asked for."""
    everything = {"avx2": True, "avx512_f": True, "avx512_bf16": True, "amx_bf16": True, "amx_tile": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: everything, raising=False)
    started = processes.start(TrainingOptions(device="cpu", precision=wanted))
    assert started.mixed_precision == "no"
    assert processes.precision_of(started) == "fp32"


def test_a_cpu_trains_in_bf16_on_request():
    assert processes.precision_of(processes.start(TrainingOptions(device="cpu", precision="bf16"))) == "bf16"


def test_the_old_name_of_fp32_is_refused_with_the_new_one():
    with pytest.raises(
        VsrError, match=r"^--set training\.precision=no: the value no of training\.precision is now called fp32$"
    ):
        train_config(
            registry(), manifest=None, preset="tiny", config=None, flags={}, assignments=["training.precision=no"]
        )


def test_auto_does_not_use_emulated_bf16(monkeypatch):
    asked = []

    def supported(including_emulation=True):
        asked.append(including_emulation)
        return including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert processes._precision(TrainingOptions(), torch.device("cuda")) == "no"
    assert asked == [False]


def test_half_precision_without_a_gpu_is_one_line():
    with pytest.raises(VsrError, match=r"^training.precision: a CPU does not train in fp16; use bf16, fp32 or auto$"):
        processes.start(TrainingOptions(device="cpu", precision="fp16"))


def test_bf16_trains_and_is_recorded_in_the_run(monkeypatch, train_small, tmp_path):
    used = set()
    linear = torch.nn.functional.linear

    def noted(*given):
        result = linear(*given)
        used.add(result.dtype)
        return result

    monkeypatch.setattr(torch.nn.functional, "linear", noted)
    run = train_small(tmp_path / "run", "training.epochs=3", "training.precision=bf16")
    assert torch.bfloat16 in used
    first, *_, last = [json.loads(line) for line in run.history.read_text().splitlines()]
    assert last["train"]["loss"] < 0.98 * first["train"]["loss"]
    assert run.facts()["precision"] == "bf16"
    assert run.facts()["device"] == "cpu"
    assert run.config()["training"]["precision"] == "bf16"
    # Weights are kept in single precision, whatever is multiplied in.
    assert {weight.dtype for weight in load_file(run.checkpoint("last") / "model.safetensors").values()} <= {
        torch.float32
    }


def test_an_interrupted_run_in_bf16_resumes_bit_exactly(train_small, at_step, tmp_path):
    settings = ("temporal.dropout=0.2", "training.precision=bf16")
    whole = train_small(tmp_path / "whole", *settings)

    at_step(3, stop)
    with pytest.raises(Interrupted):
        train_small(tmp_path / "run", *settings)
    run = resume_train(registry(), tmp_path / "run", data=None, epochs=None)
    for name in ("model.safetensors", "state.safetensors"):
        assert (run.checkpoint("last") / name).read_bytes() == (whole.checkpoint("last") / name).read_bytes()


def test_compiled_parts_keep_their_weight_names_and_resume(monkeypatch, train_small, at_step, tmp_path):
    translated = []

    def note(graph, inputs):  # a compiler that leaves everything as it is, at once
        translated.append(graph)
        return graph.forward

    monkeypatch.setattr(torch.nn.Module, "compile", functools.partialmethod(torch.nn.Module.compile, backend=note))
    # Components without a GRU, which is computed another way where it is not compiled: equal but for rounding.
    without_gru = ["temporal.name=transformer", "text_decoder.name=transformer"]
    plain = train_small(tmp_path / "plain", *without_gru)
    assert not translated
    at_step(3, stop)
    with pytest.raises(Interrupted):
        train_small(tmp_path / "run", *without_gru, "training.compile=true")
    run = resume_train(registry(), tmp_path / "run", data=None, epochs=None)
    assert translated
    ours, theirs = (load_file(each.checkpoint("last") / "model.safetensors") for each in (run, plain))
    assert ours.keys() == theirs.keys()
    for name, weight in ours.items():
        torch.testing.assert_close(weight, theirs[name], msg=name)


@pytest.mark.slow
def test_compiled_parts_train_like_others(monkeypatch, train_small, tmp_path):
    from torch._inductor import config

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    # Batches of five make equal steps of 25 windows, and scalar code is compiled in half the time of vector code.
    same = ("training.epochs=1", "training.batch_size=5")
    with config.patch({"cpp.simdlen": 1, "compile_threads": 1}):
        runs = [train_small(tmp_path / name, *same, f"training.compile={name}") for name in ("true", "false")]
    (ours,), (theirs,) = ([json.loads(line) for line in run.history.read_text().splitlines()] for run in runs)
    assert ours["train"]["loss"] == pytest.approx(theirs["train"]["loss"], rel=1e-4)
    assert ours["train"]["loss"] != theirs["train"]["loss"], "nothing was compiled"


def test_a_compiler_that_fails_is_one_line(monkeypatch, train_small, tmp_path):
    from torch._inductor import config

    monkeypatch.setattr(config.cpp, "cxx", (None, str(tmp_path / "no-compiler")))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(
        VsrError, match=r"^training.compile: torch's compiler failed \(.*leave --compile out$"
    ) as caught:
        train_small(tmp_path / "run", "training.compile=true")
    assert "\n" not in str(caught.value)
    assert Run(tmp_path / "run").facts()["status"] == "failed"
