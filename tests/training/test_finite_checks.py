"""NaN and infinity are reported where they appear and never stored."""

import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from vsr_cli.api.finite import first_not_finite, weight_not_finite
from vsr_cli.data.cache.feature_set import FeatureSet
from vsr_cli.errors import VsrError
from vsr_cli.files.checksums import read_checksums, write_checksums
from vsr_cli.runs.history import read_history
from vsr_cli.runs.run import Run
from vsr_cli.training.progress import Progress


def all_finite(run: Run) -> bool:
    """Whether every stored checkpoint of a run, of which there must be one, holds finite numbers alone."""
    paths = list(run.checkpoints.glob("*/*.safetensors"))
    assert paths
    return not any(first_not_finite(load_file(path).items()) for path in paths)


def infinite_gradient(losses):
    """Leave the loss as it is and make its gradient infinite: the root's slope at 0."""
    image = losses["image"]
    return losses | {"image": image + torch.sqrt(image - image.detach())}


@pytest.mark.parametrize("largest", [1.0, 0.0], ids=["clipped", "not clipped"])
def test_an_infinite_gradient_stops_before_the_step_and_names_the_component(train_small, at_step, tmp_path, largest):
    at_step(9, infinite_gradient)
    expected = r"the gradient of image_decoder\.\S+ \(image decoder 'deconv'\) is not finite at epoch 2, step 2"
    with pytest.raises(VsrError, match=expected) as raised:
        train_small(tmp_path / "run", f"training.max_grad_norm={largest}")
    run = Run(tmp_path / "run")
    assert f"last good checkpoint: {run.checkpoint('last')}" in str(raised.value)
    assert len(read_history(run.history)) == 1
    assert all_finite(run)


def test_weights_that_overflow_in_the_last_step_are_named_and_never_stored(train_small, tmp_path):
    with pytest.raises(VsrError, match=r"is (not finite|nan|inf)") as raised:
        train_small(
            tmp_path / "run",
            "training.epochs=1",
            "training.batch_size=100",
            "training.learning_rate=1e39",
            "training.warmup_ratio=0",
            "training.patience=0",
        )
    assert len(str(raised.value).splitlines()) == 1
    run = Run(tmp_path / "run")
    assert not run.checkpoint("last").exists()
    assert not run.checkpoint("best").exists()
    assert read_history(run.history) == []


def test_a_validation_loss_that_is_not_finite_is_named_and_never_best(train_small, tmp_path, monkeypatch):
    from vsr_cli.model.story_model import StoryModel

    forward, epochs = StoryModel.losses, []

    def broken(self, context, target, *more):
        losses = forward(self, context, target, *more)
        if not self.training:
            epochs.append(None)
        return losses if self.training or len(epochs) < 2 else losses | {"text": losses["text"] * math.nan}

    monkeypatch.setattr(StoryModel, "losses", broken)
    with pytest.raises(VsrError, match="the text validation loss is nan at epoch 2"):
        train_small(tmp_path / "run", "training.epochs=3")
    run = Run(tmp_path / "run")
    assert [row["epoch"] for row in read_history(run.history)] == [1]
    assert all_finite(run)


def test_a_loss_that_is_not_finite_is_never_the_best():
    progress = Progress(windows_per_step=1, windows_per_pass=1)
    watched = [math.nan, 0.5, -math.inf, 0.4, math.nan, 0.45]
    assert [progress.took_epoch(loss, history_bytes=0) for loss in watched] == [False, True, False, True, False, False]
    assert progress.best == 0.4


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_the_first_tensor_that_is_not_finite_is_named(dtype, value):
    sound = [("empty", torch.empty(0, 3)), ("ids", torch.arange(9)), ("large", torch.full((70,), 6e4).to(dtype))]
    assert first_not_finite(sound) is None
    for position in (0, 35, 69):
        broken = torch.ones(70, dtype=dtype)
        broken[position] = value
        assert first_not_finite([*sound, ("broken", broken), ("other", broken)]) == "broken"


def test_a_buffer_may_hold_minus_infinity_but_not_nan():
    model = nn.BatchNorm1d(3)
    model.register_buffer("mask", torch.full((2, 2), -math.inf))
    assert weight_not_finite(model) is None
    model.running_var[1] = math.inf
    assert weight_not_finite(model) == "running_var"
    model.running_var[1] = math.nan
    assert weight_not_finite(model) == "running_var"


def test_features_that_are_not_finite_or_too_large_never_reach_the_cache(tmp_path):
    digests = np.arange(32, dtype=np.uint8).reshape(2, 16)
    single = FeatureSet(tmp_path / "visual-key-single", row_shape=(3,), precision="single", tokens=False)
    half = FeatureSet(tmp_path / "visual-key-half", row_shape=(3,), precision="half", tokens=False)
    with pytest.raises(VsrError, match="visual-key-single: the encoder's frozen half returns features that are not"):
        single.add(digests, np.array([[0, 1, np.nan], [0, 0, 0]], np.float32), None)
    with pytest.raises(VsrError, match="too large for half precision"):
        half.add(digests, np.array([[0, 1, 1e5], [0, 0, 0]], np.float32), None)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_run_whose_last_weights_are_not_finite_is_refused_and_its_best_checkpoint_named(train_small, tmp_path):
    from vsr_cli.model.weights import load_model
    from vsr_cli.plugin.discovery import registry
    from vsr_cli.workflows.training import resume_train

    run = train_small(tmp_path / "run", "training.epochs=1")
    path = run.checkpoint("last") / "model.safetensors"
    state = load_file(path)
    name = next(name for name, tensor in state.items() if tensor.is_floating_point())
    state[name].view(-1)[0] = math.nan
    save_file(state, path)
    write_checksums(path.parent, read_checksums(path.parent, remedy=""))
    with pytest.raises(VsrError, match="holds numbers that are not finite") as raised:
        resume_train(registry(), run.folder, data=None, epochs=2)
    assert name in str(raised.value)
    assert str(run.checkpoint("best")) in str(raised.value)
    assert weight_not_finite(load_model(run, registry())) is None


def test_weights_of_another_dtype_are_refused(train_small, tmp_path):
    from vsr_cli.model.weights import load_model
    from vsr_cli.plugin.discovery import registry

    run = train_small(tmp_path / "run", "training.epochs=1")
    path = run.checkpoint("best") / "model.safetensors"
    state = load_file(path)
    name = next(name for name, tensor in state.items() if tensor.dtype == torch.float32)
    save_file(state | {name: state[name].to(torch.int32)}, path)
    write_checksums(path.parent, read_checksums(path.parent, remedy=""))
    with pytest.raises(VsrError, match=r"is of torch.int32, and the model's is of torch.float32"):
        load_model(run, registry())


@pytest.mark.parametrize(
    ("part", "name"),
    [("fusion", "fusion 'concat' of plugin fusions"), ("temporal", "temporal model 'gru' of plugin temporal_models")],
)
def test_the_first_component_whose_output_is_not_finite_is_named(train_small, tmp_path, monkeypatch, part, name):
    from vsr_cli.training import setup

    calls = []

    def spoil(_part, _given, result):
        calls.append(None)
        if len(calls) != 3:
            return None
        steps, summary = result if isinstance(result, tuple) else (result, None)
        return steps * math.nan if summary is None else (steps, summary * math.nan)

    build = setup.build_model

    def built(*of, **by):
        model = build(*of, **by)
        getattr(model, part).register_forward_hook(spoil)
        return model

    monkeypatch.setattr(setup, "build_model", built)
    words = rf"loss is nan at epoch 1, step 3, and {name} \(vsr-cli .*\) is the first whose output is not finite"
    with pytest.raises(VsrError, match=words):
        train_small(tmp_path / "run", "training.epochs=1", "training.batch_size=2")
