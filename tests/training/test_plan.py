"""The plan of a dry run, compared with the training."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vsr_cli.api import VsrError
from vsr_cli.config.schema import FeatureOptions
from vsr_cli.data.cache.extraction import frozen_features
from vsr_cli.data.prepared import open_prepared
from vsr_cli.model.building import build_model
from vsr_cli.plugin.discovery import registry
from vsr_cli.training.plan import Disk, Memory, Plan
from vsr_cli.training.plan_features import FeatureNeed, plan_features
from vsr_cli.workflows.dry_run import run_plan, show_plan
from vsr_cli.workflows.preparation import run_prepare
from vsr_cli.workflows.settings import train_config
from vsr_cli.workflows.stories import prepare_config

from ..folders import modification_times

MOBILENET = ["visual.weights=random"]


@pytest.fixture(scope="module")
def settings(small_data, small_settings):
    """Make the configuration of a small training."""

    def make(*assignments, **flags):
        manifest = open_prepared(small_data).manifest
        plain = [item for item in small_settings if not ("visual.name" in flags and item.startswith("visual."))]
        return train_config(
            registry(), manifest=manifest, preset=None, config=None, flags=flags, assignments=[*plain, *assignments]
        )

    return make


@pytest.fixture(scope="module")
def plan(settings, small_data):
    return run_plan(settings("training.epochs=3"), small_data)


def test_parts_are_fitted_to_training_frames_for_a_plan_too(settings, small_data, monkeypatch):
    fitted = []
    monkeypatch.setattr(
        "vsr_plugins.text_decoders.repeat_context.RepeatContextDecoder.fit",
        lambda self, frames: fitted.append(len(frames.texts)),
    )
    run_plan(settings(**{"text_decoder.name": "repeat-context"}), small_data)
    assert len(fitted) == 1
    assert fitted[0] > 0


def test_a_plan_writes_nothing(settings, small_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VSR_CACHE", str(tmp_path / "cache"))
    before = modification_times(small_data, tmp_path)
    run_plan(settings(*MOBILENET, "training.batch_size=1", **{"visual.name": "mobilenet_v2"}), small_data)
    assert modification_times(small_data, tmp_path) == before


def test_parameters_and_checkpoints_are_of_the_size_that_training_writes(plan, train_small, tmp_path):
    run = train_small(tmp_path / "run", "training.epochs=1")
    best, last = (sum(file.stat().st_size for file in run.checkpoint(which).iterdir()) for which in ("best", "last"))
    around = 64 * 1024  # names and shapes, progress, the state of the generators of random numbers
    assert plan.disk.trained_weights <= best <= plan.disk.trained_weights + around
    planned = plan.disk.trained_weights + plan.disk.optimizer
    assert planned <= last <= planned + around
    assert plan.disk.frozen_weights <= (run.folder / "frozen.safetensors").stat().st_size <= around
    assert 4 * sum(part.trained for part in plan.parts) <= plan.disk.trained_weights


def test_every_parameter_is_counted_in_one_part(plan, settings, small_data):
    prepared = open_prepared(small_data)
    model = build_model(settings(), image_size=prepared.image_size, training_texts=prepared.training_texts)
    assert [part.part for part in plan.parts] == [
        "visual", "text", "fusion", "temporal", "text_decoder", "image_decoder", "objective",
    ]  # fmt: skip
    assert sum(part.trained for part in plan.parts) == sum(item.numel() for item in model.parameters())
    assert all(part.frozen == 0 for part in plan.parts)
    gru = sum(item.numel() for item in model.temporal.parameters())
    assert [(part.component, part.trained) for part in plan.parts if part.part == "temporal"] == [("gru", gru)]


def test_steps_and_memory_are_counted(plan, small_data):
    windows = len(open_prepared(small_data).windows("train"))
    assert (plan.windows["train"], plan.windows_per_step, plan.epochs) == (windows, 4, 3)
    assert plan.steps_per_epoch == -(-windows // 4)
    trained = 4 * sum(part.trained for part in plan.parts)
    assert plan.memory.gradients == trained
    assert plan.memory.weights >= trained
    assert plan.memory.optimizer >= 2 * trained  # two moments a weight
    assert plan.memory.activations > 4 * 4 * 3 * 32 * 32  # the images of a step at least
    assert plan.step_seconds > 0


def test_larger_batches_save_more_for_the_backward_pass(plan, settings, small_data):
    larger = run_plan(settings("training.batch_size=8"), small_data)
    assert 1.5 < larger.memory.activations / plan.memory.activations < 2.5
    gathered = run_plan(settings("training.gradient_accumulation_steps=2"), small_data)
    assert gathered.windows_per_step == 8
    assert gathered.memory.activations < 1.2 * plan.memory.activations


def test_times_add_up():
    need = FeatureNeed(
        kind="visual", folder=Path("features"), rows=100, missing=40, row_bytes=1000, seconds_per_row=0.5
    )
    plan = Plan(
        data=Path("data"),
        windows={"train": 30, "validation": 10},
        epochs=4,
        steps_per_epoch=3,
        windows_per_step=10,
        device="cpu",
        precision="fp32",
        parts=[],
        features=[need],
        disk=Disk(frozen_weights=1, trained_weights=10, optimizer=100),
        memory=Memory(weights=1, gradients=2, optimizer=4, activations=8),
        step_seconds=2.0,
        validation_seconds=1.5,
    )
    record = plan.record()
    assert record["seconds"] == {"features": 20.0, "step": 2.0, "validation": 1.5, "epoch": 7.5, "training": 50.0}
    assert record["features"][0]["missing_bytes"] == 40_000
    assert replace(need, fits=False).record()["seconds"] == 0
    assert record["disk_bytes"]["run"] == 231
    assert record["memory_bytes"]["together"] == 15


def test_features_are_missing_until_cached_and_equal_those_of_training(settings, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VSR_CACHE", str(tmp_path / "cache"))
    assignments = ["dataset.stories=4", "dataset.width=96", "dataset.height=48", "data.image_size=32"]
    made = prepare_config(registry(), dataset="storyworld", preset="tiny", flags={}, assignments=assignments)
    prepared = run_prepare(made, None, tmp_path / "data")
    config = settings(*MOBILENET, **{"visual.name": "mobilenet_v2"})
    torch.manual_seed(0)
    model = build_model(config, image_size=32, training_texts=prepared.training_texts).eval()
    sample, device = np.arange(2), torch.device("cpu")
    held, (need,) = plan_features(prepared, model, sample=sample, device=device, options=FeatureOptions())
    images = len(np.unique(np.concatenate([prepared.windows(s).image_rows for s in ("train", "validation")])))
    assert (need.kind, need.rows, need.missing) == ("visual", images, images)
    assert need.row_bytes == 4 * 1280
    assert need.seconds > 0
    assert not need.folder.exists()

    kept = frozen_features(prepared, model.visual, model.text, device=device, options=FeatureOptions())
    rows = prepared.windows("train").take(sample).image_rows
    assert np.allclose(held.visual.gather(rows), kept.visual.gather(rows), rtol=1e-4, atol=1e-5)
    read, (need,) = plan_features(prepared, model, sample=sample, device=device, options=FeatureOptions())
    assert (need.missing, need.missing_bytes, need.seconds) == (0, 0, 0)
    assert need.folder.is_dir()
    assert np.array_equal(read.visual.gather(rows), kept.visual.gather(rows))


def test_a_plan_is_shown_completely(plan, capsys):
    show_plan(plan)
    shown = capsys.readouterr().out
    for part in ("image decoder", "deconv", "activations", "last checkpoint", "per epoch of", "total, 3 epochs"):
        assert part in shown


def test_missing_data_and_several_processes_are_errors(settings, small_data, monkeypatch):
    with pytest.raises(VsrError, match="nothing is prepared under data/ yet"):
        run_plan(settings(), None)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(VsrError, match="a launcher has started 2"):
        run_plan(settings(), small_data)
