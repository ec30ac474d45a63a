"""What training multiplies in, and torch's compiler."""

import functools
import json
import os

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from vsr_cli.api import VsrError
from vsr_cli.commands.train import resume_train
from vsr_cli.plugin.discovery import registry
from vsr_cli.run import Run
from vsr_cli.sections import TrainingOptions
from vsr_cli.training import processes
from vsr_cli.training.stopping import Interrupted


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch):
    monkeypatch.setattr("vsr_cli.commands.train._draw_curves", lambda run: None)


@pytest.fixture(autouse=True)
def _anew():
    """Let accelerate forget its precision, and torch what it has compiled, as no process but a test's ever has to."""
    AcceleratorState._reset_state()
    torch.compiler.reset()
    yield
    AcceleratorState._reset_state()


def processor(monkeypatch, **capabilities):
    """Let torch say that the processor has these instructions."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)


def stop(losses):
    os.kill(os.getpid(), 2)
    return losses


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx2": True, "avx512_f": True, "avx512_bf16": False}, "no"),
        ({"avx512_bf16": True, "amx_bf16": False}, "bf16"),
        ({"avx512_bf16": False, "amx_bf16": True}, "bf16"),
        ({"neon": True}, "no"),
    ],
)
def test_auto_is_bf16_where_the_processor_has_instructions_for_it(monkeypatch, capabilities, expected):
    processor(monkeypatch, **capabilities)
    assert processes.start(TrainingOptions(device="cpu")).mixed_precision == expected
    AcceleratorState._reset_state()
    assert processes.start(TrainingOptions(device="cpu", precision="no")).mixed_precision == "no"


def test_auto_asks_a_gpu_for_more_than_an_emulation(monkeypatch):
    asked = []

    def supported(including_emulation=True):
        asked.append(including_emulation)
        return including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert processes._precision(TrainingOptions(), torch.device("cuda")) == "no"
    assert asked == [False]


def test_half_precision_without_a_gpu_is_one_line():
    with pytest.raises(VsrError, match=r"^training.precision: a CPU does not train in fp16; use bf16, no or auto$"):
        processes.start(TrainingOptions(device="cpu", precision="fp16"))


def test_bf16_trains_and_the_run_says_what_auto_came_to(monkeypatch, train_small, tmp_path):
    processor(monkeypatch, avx512_bf16=True)
    used = set()
    linear = torch.nn.functional.linear

    def noted(*given):
        result = linear(*given)
        used.add(result.dtype)
        return result

    monkeypatch.setattr(torch.nn.functional, "linear", noted)
    run = train_small(tmp_path / "run", "training.epochs=3")
    assert torch.bfloat16 in used
    first, *_, last = [json.loads(line) for line in run.history.read_text().splitlines()]
    assert last["train"]["loss"] < 0.98 * first["train"]["loss"]
    assert run.facts()["precision"] == "bf16"
    assert run.facts()["device"] == "cpu"
    assert run.config()["training"]["precision"] == "auto"
    # Weights are kept in single precision, whatever is multiplied in.
    assert {weight.dtype for weight in load_file(run.checkpoint("last") / "model.safetensors").values()} <= {
        torch.float32
    }


def test_an_interrupted_run_in_bf16_goes_on_to_the_bit(monkeypatch, train_small, at_step, tmp_path):
    processor(monkeypatch, avx512_bf16=True)
    whole = train_small(tmp_path / "whole", "temporal.dropout=0.2")

    at_step(3, stop)
    with pytest.raises(Interrupted):
        train_small(tmp_path / "run", "temporal.dropout=0.2")
    run = resume_train(registry(), tmp_path / "run", data=None, epochs=None)
    for name in ("model.safetensors", "state.safetensors"):
        assert (run.checkpoint("last") / name).read_bytes() == (whole.checkpoint("last") / name).read_bytes()


def test_parts_to_compile_keep_their_names_and_go_on(monkeypatch, train_small, at_step, tmp_path):
    translated = []

    def note(graph, inputs):  # a compiler that leaves everything as it is, at once
        translated.append(graph)
        return graph.forward

    monkeypatch.setattr(torch.nn.Module, "compile", functools.partialmethod(torch.nn.Module.compile, backend=note))
    plain = train_small(tmp_path / "plain")
    assert not translated
    at_step(3, stop)
    with pytest.raises(Interrupted):
        train_small(tmp_path / "run", "training.compile=true")
    run = resume_train(registry(), tmp_path / "run", data=None, epochs=None)
    assert translated
    ours, theirs = (load_file(each.checkpoint("last") / "model.safetensors") for each in (run, plain))
    assert ours.keys() == theirs.keys()
    for name, weight in ours.items():
        torch.testing.assert_close(weight, theirs[name], msg=name)


@pytest.mark.slow
def test_compiled_parts_train_alike(train_small, tmp_path):
    runs = [train_small(tmp_path / name, "training.epochs=1", f"training.compile={name}") for name in ("true", "false")]
    (ours,), (theirs,) = ([json.loads(line) for line in run.history.read_text().splitlines()] for run in runs)
    assert ours["train"]["loss"] == pytest.approx(theirs["train"]["loss"], rel=1e-4)
    assert ours["train"]["loss"] != theirs["train"]["loss"], "nothing was compiled"


def test_a_compiler_that_fails_is_one_line(monkeypatch, train_small, tmp_path):
    from torch._inductor import config

    monkeypatch.setattr(config.cpp, "cxx", (None, str(tmp_path / "no-compiler")))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(VsrError, match=r"^training.compile: torch's compiler failed \(.*leave --compile out$") as told:
        train_small(tmp_path / "run", "training.compile=true")
    assert "\n" not in str(told.value)
    assert Run(tmp_path / "run").facts()["status"] == "failed"
