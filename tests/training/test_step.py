"""The gradient of a step does not depend on the number of forward passes."""

import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from vsr_cli.api import VsrError
from vsr_cli.config.schema import FeatureOptions, TrainingOptions
from vsr_cli.data.cache.extraction import frozen_features
from vsr_cli.data.prepared import open_prepared
from vsr_cli.model.loss_means import open_split
from vsr_cli.model.story_model import StoryModel
from vsr_cli.model.weights import load_model
from vsr_cli.plugin.discovery import registry
from vsr_cli.training import loop, validation
from vsr_cli.training.progress import Progress
from vsr_cli.training.step import StepRunner

WINDOWS = np.arange(13)
both_precisions = pytest.mark.both_precisions


@dataclass(frozen=True)
class Tolerance:
    """By how much the same sum may be off, relatively, when it is taken in another order."""

    loss: float
    train: float
    """Of the training losses after some steps."""
    validation: float
    same_gradient: Callable[[torch.Tensor, torch.Tensor], bool]


TOLERANCES = {
    "fp32": Tolerance(
        loss=1e-5,
        train=1e-4,
        validation=1e-3,
        same_gradient=lambda one, other: torch.allclose(one, other, rtol=1e-4, atol=1e-7),
    ),
    # A product keeps eight bits: single elements next to nothing are noise, so a gradient is compared as a whole. The
    # image decoder's differs by 0.036 in passes of one window with AVX-512, and by less with AVX2.
    "bf16": Tolerance(
        loss=2e-3,
        train=5e-3,
        validation=5e-3,
        same_gradient=lambda one, other: bool((one - other).norm() <= 0.1 * one.norm()),
    ),
}


@pytest.fixture
def tolerance(precision):
    return TOLERANCES[precision]


@pytest.fixture(scope="module")
def run(train_small, tmp_path_factory):
    return train_small(tmp_path_factory.mktemp("runs") / "run", "training.epochs=1")


@pytest.fixture
def measure(run, small_data, precision):
    """Measure the thirteen first training windows in passes of this many: return losses, gradients and progress."""
    prepared = open_prepared(small_data)
    accelerator = Accelerator(cpu=True, mixed_precision="no" if precision == "fp32" else precision)

    def measured(windows_per_pass, *, alignment=0.0):
        model = load_model(run, registry(), which="last").train()
        model.objective = model.objective.model_copy(update={"alignment": alignment})
        features = frozen_features(
            prepared, model.visual, model.text, device=torch.device("cpu"), options=FeatureOptions()
        )
        split = open_split(model, prepared, "train", features, device=torch.device("cpu"))
        progress = Progress(windows_per_step=len(WINDOWS), windows_per_pass=windows_per_pass)
        # The gradient of a step as its optimizer gets it.
        gradients = {}
        optimizer = torch.optim.SGD([weight for weight in model.parameters() if weight.requires_grad], lr=0.0)
        optimizer.register_step_pre_hook(
            lambda *_: gradients.update({name: item.grad for name, item in model.named_parameters()})
        )
        wrapped, optimizer = accelerator.prepare(model, optimizer)
        options = TrainingOptions(max_grad_norm=0)
        runner = StepRunner(
            model=model,
            wrapped=wrapped,
            optimizer=optimizer,
            accelerator=accelerator,
            options=options,
            progress=progress,
        )
        losses = runner.run(split, WINDOWS, rate=1.0)
        return losses, gradients, progress

    return measured


def assert_same_gradients(ones, others, tolerance):
    for name, one in ones.items():
        assert one is not None
        assert tolerance.same_gradient(one, others[name]), name


@both_precisions
@pytest.mark.parametrize("windows_per_pass", [1, 5, 12])
def test_several_passes_give_the_gradient_of_one(measure, windows_per_pass, tolerance):
    """Thirteen windows never make equal passes, and their texts differ in length, so that every weight matters."""
    whole, gradient, _ = measure(13)
    losses, added, _ = measure(windows_per_pass)
    for name in ("text", "image"):
        assert losses[name] == pytest.approx(whole[name], rel=tolerance.loss)
    assert_same_gradients({name: item for name, item in gradient.items() if "alignment" not in name}, added, tolerance)


@both_precisions
def test_one_pass_gives_the_losses_of_the_model_itself(measure, monkeypatch):
    seen = {}
    forward = StoryModel.losses

    def kept(self, context, target, *more):
        losses = forward(self, context, target, *more)
        seen.update({name: float(loss.detach()) for name, loss in losses.items()})
        return losses

    monkeypatch.setattr(StoryModel, "losses", kept)
    assert measure(13, alignment=0.5)[0] == pytest.approx(seen, rel=1e-6)


@both_precisions
def test_the_alignment_of_several_passes_is_their_mean_over_frames(measure, monkeypatch):
    parts = []
    forward = StoryModel.losses

    def kept(self, context, target, *more):
        losses = forward(self, context, target, *more)
        parts.append((int(context.mask.sum()), float(losses["alignment"].detach())))
        return losses

    monkeypatch.setattr(StoryModel, "losses", kept)
    losses = measure(5, alignment=0.5)[0]
    assert len(parts) == 3
    assert losses["alignment"] == pytest.approx(np.average([loss for _, loss in parts], weights=[n for n, _ in parts]))
    assert losses["loss"] == pytest.approx(losses["text"] + losses["image"] + 0.5 * losses["alignment"], rel=1e-5)


REFUSALS = {
    "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
    "cpu": RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
        "allocate 4000000000000 bytes. Error code 12 (Cannot allocate memory)"
    ),
    "numpy": MemoryError(),
}


def refuse_above(monkeypatch, size, error):
    """Let batches above a size run out of memory half way through; return the sizes that are tried."""
    sizes = []

    def forward(self, context, target, *more, whole=StoryModel.losses):
        losses = whole(self, context, target, *more)
        sizes.append(len(context.story))
        if len(context.story) > size:
            if losses["text"].requires_grad:
                losses["text"].backward(retain_graph=True)  # half of a gradient is there when memory runs out
            raise error
        return losses

    monkeypatch.setattr(StoryModel, "losses", forward)
    return sizes


@both_precisions
@pytest.mark.parametrize("device", REFUSALS)
def test_a_pass_that_does_not_fit_in_memory_is_halved_with_the_same_gradient(
    measure, monkeypatch, capsys, device, tolerance
):
    whole, gradient, _ = measure(13)
    sizes = refuse_above(monkeypatch, 4, REFUSALS[device])
    losses, added, progress = measure(13)
    assert sizes == [13, 7, 4, 4, 4, 1]
    assert progress.windows_per_pass == 4
    assert losses["text"] == pytest.approx(whole["text"], rel=tolerance.loss)
    assert_same_gradients({name: item for name, item in gradient.items() if "alignment" not in name}, added, tolerance)
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("out of memory with 13 windows in one pass: training continues with 4")


def test_a_single_window_that_does_not_fit_is_one_line(measure, monkeypatch):
    refuse_above(monkeypatch, 0, REFUSALS["cuda"])
    with pytest.raises(VsrError, match=r"^training: a single window does not fit in memory; choose .*$"):
        measure(13)


def test_other_errors_than_out_of_memory_are_not_retried(measure, monkeypatch):
    sizes = refuse_above(monkeypatch, 4, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        measure(13)
    assert sizes == [13]


def rows(run):
    return [json.loads(line) for line in run.history.read_text().splitlines()]


@both_precisions
def test_accumulation_trains_like_the_larger_batch(train_small, tmp_path, tolerance):
    settings = ("objective.alignment=0", "objective.l1=0.5", "training.epochs=3")
    large = train_small(tmp_path / "large", *settings, "training.batch_size=9")
    small = train_small(
        tmp_path / "small", *settings, "training.batch_size=3", "training.gradient_accumulation_steps=3"
    )
    for one, other in zip(rows(large), rows(small), strict=True):
        assert one["steps"] == other["steps"]
        assert one["train"].keys() == one["validation"].keys() == {"loss", "text", "image", "l1"}, "without alignment"
        for name in ("text", "image", "l1"):
            assert one["train"][name] == pytest.approx(other["train"][name], rel=tolerance.train)
            assert one["validation"][name] == pytest.approx(other["validation"][name], rel=tolerance.validation)


def test_a_resumed_run_keeps_its_halved_passes(train_small, tmp_path, monkeypatch):
    from vsr_cli.workflows.training import resume_train

    refuse_above(monkeypatch, 2, REFUSALS["cpu"])
    run = train_small(tmp_path / "run", "training.epochs=1")
    monkeypatch.undo()
    sizes = refuse_above(monkeypatch, 2, REFUSALS["cpu"])
    resume_train(registry(), run.folder, data=None, epochs=2)
    assert max(sizes) == 2


def test_early_stopping_ends_training(train_small, tmp_path, monkeypatch, capsys):
    values = iter([5.0, 3.0, 4.0, 3.5, 1.0])

    def faked(*arguments, validate=validation.validate, **options):
        return validate(*arguments, **options) | {"image": next(values)}

    monkeypatch.setattr(loop, "validate", faked)
    watched = ("training.best_metric=image", "training.patience=2", "training.epochs=9", "training.batch_size=16")
    run = train_small(tmp_path / "run", *watched)
    assert [row["validation"]["image"] for row in rows(run)] == [5.0, 3.0, 4.0, 3.5]
    assert json.loads((run.checkpoint("best") / "epoch.json").read_text())["epoch"] == 2
    assert json.loads((run.checkpoint("last") / "epoch.json").read_text())["epoch"] == 4
    assert run.facts()["status"] == "finished"
    assert "ending after epoch 4: image no better for 2 epochs" in capsys.readouterr().err


def test_patience_needs_a_validation_split(train_small, tmp_path):
    from vsr_cli.workflows.preparation import run_prepare
    from vsr_cli.workflows.stories import prepare_config

    assignments = ["dataset.stories=3", "data.image_size=32", "data.validation=0", "data.test=0"]
    made = prepare_config(registry(), dataset="storyworld", preset="tiny", flags={}, assignments=assignments)
    data = run_prepare(made, None, tmp_path / "data").folder
    with pytest.raises(VsrError, match=r"^training\.patience: .* has no validation split to watch; set it to 0$"):
        train_small(tmp_path / "run", "training.patience=1", data=data)
