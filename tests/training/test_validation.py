"""The validation loss: per token, independent of batches, equal to that of `vsr evaluate`."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from vsr_cli.api import Decoding, VsrError
from vsr_cli.config.experiment import resolve_metrics
from vsr_cli.config.schema import FeatureOptions
from vsr_cli.data.cache.encoding import BATCH
from vsr_cli.data.cache.extraction import frozen_features
from vsr_cli.data.prepared import open_prepared
from vsr_cli.evaluation.evaluate import evaluate
from vsr_cli.evaluation.model_predictions import Part
from vsr_cli.model.held_out_losses import held_out_batches
from vsr_cli.model.loss_means import LossMeans, open_split
from vsr_cli.model.story_model import StoryModel
from vsr_cli.model.weights import load_model
from vsr_cli.plugin.discovery import registry
from vsr_cli.runs.history import read_history
from vsr_cli.training import validation
from vsr_cli.training.progress import Progress
from vsr_cli.training.validation import validate
from vsr_cli.workflows.preparation import run_prepare
from vsr_cli.workflows.stories import prepare_config

CPU = torch.device("cpu")
LONG = "text_decoder.length=60"
"""So that no target is truncated, and their lengths differ."""


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Twenty-five small stories, half of them validation: more windows than one batch, texts of unlike lengths."""
    made = ["dataset.stories=25", "dataset.width=96", "dataset.height=48", "data.image_size=32", "data.validation=0.5"]
    config = prepare_config(
        registry(), dataset="storyworld", preset="tiny", flags={}, assignments=[*made, "data.window=sliding"]
    )
    return run_prepare(config, None, tmp_path_factory.mktemp("data") / "storyworld").folder


@pytest.fixture(scope="module")
def run(train_small, data, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    return train_small(out, "training.epochs=1", "training.batch_size=3", "objective.next_frame=0.5", LONG, data=data)


@pytest.fixture
def model(run) -> StoryModel:
    return load_model(run, registry(), which="last")


@pytest.fixture
def split(model, data):
    prepared = open_prepared(data)
    features = frozen_features(prepared, model.visual, model.text, device=CPU, options=FeatureOptions())
    return open_split(model, prepared, "validation", features, device=CPU)


def validated(model, split, *, accelerator=None, progress=None, after_batch=lambda: None):
    progress = progress or Progress(windows_per_step=3, windows_per_pass=3)
    return validate(model, split, accelerator or Accelerator(cpu=True), progress=progress, after_batch=after_batch)


@torch.no_grad()
def losses_of(model, split, indices):
    """Return what the model itself says of some windows."""
    losses = model.eval()(split.contexts.batch(indices), split.targets.batch(indices))
    return {name: loss.item() for name, loss in losses.items()}


def test_the_validation_loss_of_history_is_that_of_evaluate(run, model, data):
    """The run was trained in batches of three windows, which no number may show."""
    (row,) = read_history(run.history)
    choices = resolve_metrics(registry(), ["mse"], [])
    prepared = open_prepared(data)
    parts = [Part(prepared, prepared, lambda: model)]
    found = evaluate(parts, prepared, "validation", choices, decoding=Decoding(), device=CPU).result
    block = found["teacher_forced"]
    assert block["windows"] == len(prepared.windows("validation")) > BATCH
    assert set(row["validation"]) == {"loss", "text", "image", "alignment", "next_frame"}
    assert block["losses"] == pytest.approx(row["validation"], rel=1e-6)


@pytest.mark.parametrize("size", [1, 3, 16])
def test_text_and_image_losses_do_not_depend_on_the_batches(model, split, monkeypatch, size):
    whole = validated(model, split)
    order = np.random.default_rng(5).permutation(len(split))
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    monkeypatch.setattr(validation, "held_out_batches", lambda windows: batches)
    other = validated(model, split)
    for name in ("text", "image"):
        assert other[name] == pytest.approx(whole[name], rel=1e-5)
    of_batches = [losses_of(model, split, batch)["text"] for batch in batches]
    if size == 1:
        assert np.mean(of_batches) != pytest.approx(whole["text"], rel=1e-4)  # it is no mean of the batches' means


def test_the_text_loss_is_a_mean_over_tokens(model, split):
    tokens = split.targets.counts
    assert len(set(tokens.tolist())) > 3
    each = [losses_of(model, split, np.array([window]))["text"] for window in range(len(split))]
    assert validated(model, split)["text"] == pytest.approx(np.average(each, weights=tokens), rel=1e-5)


@dataclass
class OneOf:
    """Stands for one of several processes, whose sums are put together by the test."""

    process_index: int
    num_processes: int


@pytest.mark.parametrize("count", [2, 3, 5])
def test_the_number_of_processes_changes_nothing(model, split, monkeypatch, count):
    alone = validated(model, split)
    gathered, rounds = [], []

    def gather_object(values):
        gathered.extend(values)
        return values

    monkeypatch.setattr(validation, "gather_object", gather_object)
    for index in range(count):
        rounds.append(0)

        def after_batch():
            rounds[-1] += 1

        validated(model, split, accelerator=OneOf(index, count), after_batch=after_batch)
    assert len(set(rounds)) == 1  # all meet as often
    monkeypatch.setattr(validation, "gather_object", lambda values: gathered)
    assert validated(model, split, accelerator=OneOf(0, count)) == pytest.approx(alone, rel=1e-12)


def test_a_validation_batch_that_does_not_fit_in_memory_is_divided(model, split, monkeypatch, capsys):
    whole = validated(model, split)
    forward = StoryModel.losses

    def small_ones_only(self, context, target, *more):
        if len(context.mask) > most:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return forward(self, context, target, *more)

    monkeypatch.setattr(StoryModel, "losses", small_ones_only)
    most, progress = 9, Progress(windows_per_step=3, windows_per_pass=3)
    found = validated(model, split, progress=progress)
    assert progress.windows_validated == 8
    assert found["text"] == pytest.approx(whole["text"], rel=1e-5)
    assert "validation continues with 8" in capsys.readouterr().err
    most = 0
    with pytest.raises(VsrError, match="a single window does not fit in memory"):
        validated(model, split)


def test_batches_are_a_fixed_shuffle_of_all_windows():
    batches = held_out_batches(70)
    assert [len(batch) for batch in batches] == [32, 32, 6]
    assert sorted(np.concatenate(batches).tolist()) == list(range(70))
    assert all((one == other).all() for one, other in zip(batches, held_out_batches(70), strict=True))
    assert held_out_batches(0) == []


def test_means_can_be_stored_as_json(split):
    found = LossMeans()
    losses = dict.fromkeys(split.counts, 0.1)
    found.add(losses, split, np.arange(3))
    again = LossMeans(**json.loads(json.dumps(vars(found))))
    again.add(losses, split, np.arange(3, 5))
    assert again.means(dict.fromkeys(losses, 2.0)) == pytest.approx({"loss": 0.2 * len(losses), **losses})
    assert LossMeans().means({}) == {}
