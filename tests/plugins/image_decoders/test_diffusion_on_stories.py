"""The image decoder `diffusion` in a whole run: what it trains, stores and needs afterwards."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from vsr_cli.api import Decoding, VsrError
from vsr_cli.config.experiment import resolve_metrics
from vsr_cli.model.weights import load_model
from vsr_cli.plugin.discovery import registry
from vsr_cli.runs.run import FROZEN, WEIGHTS
from vsr_cli.workflows.evaluation import run_evaluate
from vsr_cli.workflows.training import resume_train

from ...plugin_checks.small_pipelines import PIPELINES

torch.set_num_threads(1)  # at these sizes a pool of threads costs more than it saves


@pytest.mark.parametrize(("which", "trained"), [("sd", "none"), ("sdxl", "lora")])
def test_a_run_trains_what_it_should_and_needs_only_its_folder(
    tmp_path, small_data, train_small, which, trained, no_network
):
    model = PIPELINES[which](tmp_path / "model")
    settings = (f"image_decoder.trained={trained}", "image_decoder.steps=2", "training.learning_rate=0.01")
    run = train_small(
        tmp_path / "run", "image_decoder.name=diffusion", f"image_decoder.model={model}", "training.epochs=1", *settings
    )
    shutil.rmtree(model)
    resume_train(registry(), run.folder, data=None, epochs=2)
    rows = [json.loads(line)["validation"] for line in run.history.read_text().splitlines()]
    frozen, weights = load_file(run.folder / FROZEN), load_file(run.checkpoint("last") / WEIGHTS)
    of_image = [name for name in weights if name.startswith("image_decoder.")]
    assert {name.split(".")[2] for name in frozen if name.startswith("image_decoder.")} >= {"unet", "vae"}
    if trained == "none":
        assert "image" not in rows[-1]
        assert not of_image
    else:
        assert rows[-1]["image"] < rows[0]["image"]
        assert of_image
        assert [name for name in of_image if "lora" not in name] == []
    metrics = resolve_metrics(registry(), ["mse"], [])
    once, again = (run_evaluate(registry(), run, small_data, "test", metrics, decoding=Decoding()) for _ in range(2))
    assert once == again
    other = run_evaluate(registry(), run, small_data, "test", metrics, decoding=Decoding(seed=1))
    assert other != once
    assert load_model(run, registry()).image_decoder.side == 32


@pytest.mark.parametrize("setting", ["image_decoder.trained=none", "objective.image=0"])
def test_no_loss_is_computed_that_trains_nothing(tmp_path, train_small, monkeypatch, setting):
    model = PIPELINES["sd"](tmp_path / "model")
    monkeypatch.setattr("vsr_plugins.image_decoders.diffusion.Diffusion.loss", lambda *_: pytest.fail("computed"))
    settings = ("image_decoder.name=diffusion", f"image_decoder.model={model}", "training.epochs=1", setting)
    run = train_small(tmp_path / "run", *settings)
    assert "image" not in json.loads(run.history.read_text().splitlines()[0])["validation"]
    with pytest.raises(VsrError, match=r"best_metric: image is .*measured"):
        train_small(tmp_path / "other", *settings, "training.best_metric=image")
