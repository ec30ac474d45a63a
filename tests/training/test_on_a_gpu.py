"""Each component of a model runs on a GPU as on the CPU, as far as that shows without a GPU (see `pretend_gpu`)."""

from importlib.metadata import entry_points

import numpy as np
import pytest
import torch

from vsr_cli.api import Decoding
from vsr_cli.config.experiment import resolve_train
from vsr_cli.config.resolve import parse_set, preset_layer
from vsr_cli.data.cache.extraction import Features
from vsr_cli.data.prepared import open_prepared
from vsr_cli.model.building import build_model
from vsr_cli.model.loss_means import open_split
from vsr_cli.plugin.discovery import GROUP, discover
from vsr_cli.plugin.kinds import MODEL_COMPONENTS
from vsr_cli.plugin_checks.harness import Size, make_harness, read
from vsr_cli.training.distributed import start
from vsr_cli.training.optimizer import make_optimizer
from vsr_cli.training.progress import Progress
from vsr_cli.training.step import StepRunner

from ..plugin_checks.test_every_component import NEEDS, Needs, save_models
from ..pretend_gpu import GPU, pretend_gpu, to_gpu

POINTS = [each for each in entry_points(group=GROUP) if each.value.startswith("vsr_plugins.")]
REGISTRY = discover(POINTS, disabled=set())
SLOW = {"vlm", "diffusion"}
COMPONENTS = [
    pytest.param(
        entry.section,
        entry.component.name,
        marks=[pytest.mark.slow] if entry.component.name in SLOW else [],
        id=f"{entry.section}-{entry.component.name}",
    )
    for entry in REGISTRY.provided
    if entry.section in MODEL_COMPONENTS and entry.component.name not in ("resnet50", "mobilenet_v2", "timm")
]
"""Without those that are built as others are, and large."""
SMALLEST = Size(2, 4, 32, 32)
DECODINGS = (Decoding(), Decoding(method="sample", seed=1, top_p=0.9), Decoding(method="beam", beams=2))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return save_models(tmp_path_factory.mktemp("models"))


@pytest.mark.parametrize(("section", "name"), COMPONENTS)
def test_component_trains_and_predicts_on_a_gpu_as_on_the_cpu(section, name, models):
    settings = [setting.format_map(models) for setting in NEEDS.get((section, name), Needs()).settings]
    harness = make_harness(REGISTRY, section, name, settings)
    on_cpu, model = harness.build(SMALLEST), harness.build(SMALLEST)
    context, target = read(on_cpu, SMALLEST)
    losses = on_cpu(context, target)
    losses["loss"].backward()
    wanted = [on_cpu.predict(context, decoding) for decoding in DECODINGS]
    with pretend_gpu():
        to_gpu(model)
        context, target = to_gpu(context), to_gpu(target)
        found = model(context, target)
        found["loss"].backward()
        predicted = [model.predict(context, decoding) for decoding in DECODINGS]
        assert {key: loss.detach().cpu().item() for key, loss in found.items()} == pytest.approx(
            {key: loss.item() for key, loss in losses.items()}, rel=1e-5
        )
        slopes = {key: weight.grad.cpu() for key, weight in model.named_parameters() if weight.grad is not None}
        for one, other in zip(wanted, predicted, strict=True):
            assert one.texts == other.texts
            assert torch.allclose(one.images, other.images.cpu(), atol=1e-5)
    assert slopes.keys() == {key for key, weight in on_cpu.named_parameters() if weight.grad is not None}
    for key, weight in on_cpu.named_parameters():
        if weight.grad is not None:
            gap = (slopes[key] - weight.grad).norm()
            assert gap <= 1e-3 * weight.grad.norm() + 1e-6, f"{key}: {gap:.1e} of {weight.grad.norm():.1e}"


def test_a_training_step_waits_for_the_gpu_only_where_it_needs_numbers(small_data, small_settings, monkeypatch):
    """Each time costs a small step more than the work that it waits for."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**40, 2**40))
    layers = [preset_layer("tiny"), *parse_set(small_settings)]
    config = resolve_train(REGISTRY, preset="tiny", layers=layers)
    prepared = open_prepared(small_data)
    model = build_model(config, image_size=prepared.image_size, training_texts=prepared.training_texts).train()
    features = Features(visual=None, text=None, tokens=model.text.tokenize(prepared.frames.texts))
    accelerator = start(config.training)
    with pretend_gpu() as waits:
        to_gpu(model)
        split = open_split(model, prepared, "train", features, device=GPU)
        runner = StepRunner(
            model=model,
            wrapped=model,
            optimizer=make_optimizer(model, config.training),
            accelerator=accelerator,
            options=config.training,
            progress=Progress(windows_per_step=4, windows_per_pass=4),
        )
        runner.run(split, np.arange(4), rate=1.0)
        before = {name: weight.held.clone() for name, weight in model.named_parameters()}
        waits.clear()
        runner.run(split, np.arange(4, 8), rate=1.0)
        # The losses; the norm of the gradient; which target tokens are real, and which frames.
        assert sorted(waits) == ["_local_scalar_dense", "nonzero", "nonzero", "tolist"]
    assert any(not weight.held.equal(before[name]) for name, weight in model.named_parameters())
