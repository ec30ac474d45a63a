import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from vsr_cli.api import VsrError
from vsr_cli.config.experiment import resolve_metrics
from vsr_cli.config.schema import FeatureOptions
from vsr_cli.data.batches import Contexts
from vsr_cli.data.cache import extraction
from vsr_cli.data.prepared import open_prepared
from vsr_cli.model.parts import build_part
from vsr_cli.model.weights import frozen_names, load_model
from vsr_cli.plugin.discovery import registry
from vsr_cli.runs.run import Run
from vsr_cli.workflows.evaluation import run_evaluate
from vsr_cli.workflows.preparation import run_prepare
from vsr_cli.workflows.settings import train_config
from vsr_cli.workflows.stories import prepare_config
from vsr_cli.workflows.training import resume_train, run_train
from vsr_plugins.visual_encoders.pretrained import PretrainedEncoder


@pytest.fixture(scope="module")
def run(train_small, tmp_path_factory):
    """Train for six epochs."""
    return train_small(tmp_path_factory.mktemp("runs") / "run", "training.epochs=6")


def history(run):
    return [json.loads(line) for line in run.history.read_text().splitlines()]


def test_the_losses_fall(run):
    rows = history(run)
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[-1]["train"]["loss"] < 0.95 * rows[0]["train"]["loss"]
    assert rows[-1]["train"]["text"] < rows[0]["train"]["text"]
    assert rows[-1]["validation"]["loss"] < rows[0]["validation"]["loss"]


def test_history_holds_the_mean_of_each_loss(run):
    for row in history(run):
        for losses in (row["train"], row["validation"]):
            weighted = losses["text"] + losses["image"] + 0.5 * losses["alignment"]
            assert losses["loss"] == pytest.approx(weighted, rel=1e-4)


def test_every_window_is_seen_in_every_epoch(run, small_data):
    windows = len(open_prepared(small_data).windows("train"))
    assert [row["steps"] for row in history(run)] == [epoch * math.ceil(windows / 4) for epoch in range(1, 7)]


def test_a_finished_run_has_all_its_files(run):
    assert run.facts()["status"] == "finished"
    assert run.facts()["ended"] >= run.facts()["started"]
    for name in ("config.json", "run.json", "history.jsonl", "frozen.safetensors", "assets/text/tokenizer.json"):
        assert (run.folder / name).is_file()
    rows = history(run)
    best = min(rows, key=lambda row: row["validation"]["loss"])
    for which, row in (("last", rows[-1]), ("best", best)):
        assert json.loads((run.checkpoint(which) / "epoch.json").read_text()) == row


def test_a_run_holds_no_python_path_and_no_pickle(run):
    files = [path for path in run.folder.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".json", ".jsonl", ".safetensors", ".png"}
    for path in files:
        if path.name != "run.json":  # which says how the run was started
            held = path.read_bytes()
            assert str(Path(__file__).parents[2]).encode() not in held
            assert b"vsr_plugins" not in held
            assert b"vsr_cli" not in held
            assert sys.prefix.encode() not in held
    assert not any(path.name.startswith(".") for path in run.folder.rglob("*"))


def test_each_weight_is_in_exactly_one_file(run):
    model = load_model(run, registry(), which="last")
    frozen, kept = load_file(run.folder / "frozen.safetensors"), load_file(run.checkpoint("last") / "model.safetensors")
    assert not frozen.keys() & kept.keys()
    assert frozen.keys() | kept.keys() == model.state_dict().keys()
    assert frozen.keys() == frozen_names(model) == set()


def test_the_same_seed_gives_bit_identical_weights_and_losses(train_small, tmp_path):
    one, two = train_small(tmp_path / "1"), train_small(tmp_path / "2")
    other = train_small(tmp_path / "3", "training.seed=1")
    weights = [(run.checkpoint("last") / "model.safetensors").read_bytes() for run in (one, two, other)]
    assert weights[0] == weights[1]
    assert weights[0] != weights[2]
    for first, second in zip(history(one), history(two), strict=True):
        assert (first["train"], first["validation"]) == (second["train"], second["validation"])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_with_one_line_that_names_the_step(train_small, at_step, tmp_path, value):
    at_step(9, lambda losses: losses | {"image": losses["image"] * value})
    with pytest.raises(VsrError, match=r"the image loss is (nan|inf) at epoch 2, step 2") as raised:
        train_small(tmp_path / "run")
    assert "\n" not in str(raised.value)
    assert "training.learning_rate" in str(raised.value)
    run = Run(tmp_path / "run")
    assert str(run.checkpoint("last")) in str(raised.value)
    assert run.facts()["status"] == "failed"
    assert [row["epoch"] for row in history(run)] == [1]
    assert all(
        torch.isfinite(tensor).all() for tensor in load_file(run.checkpoint("last") / "model.safetensors").values()
    )


def test_without_a_validation_split_the_last_weights_are_used(train_small, tmp_path):
    assignments = ["dataset.stories=3", "dataset.width=96", "dataset.height=48", "data.image_size=32"]
    assignments += ["data.validation=0", "data.test=0"]
    made = prepare_config(registry(), dataset="storyworld", preset="tiny", flags={}, assignments=assignments)
    run = train_small(tmp_path / "run", data=run_prepare(made, None, tmp_path / "data").folder)
    assert history(run)[-1]["validation"] == {}
    assert not run.checkpoint("best").exists()
    assert load_model(run, registry()).state_dict().keys()


def test_a_run_folder_is_never_overwritten(train_small, run):
    before = (run.folder / "run.json").read_bytes()
    with pytest.raises(VsrError, match="nothing is overwritten"):
        train_small(run.folder)
    assert (run.folder / "run.json").read_bytes() == before


def test_truncated_texts_are_reported_once_where_the_encoder_is_chosen(train_small, tmp_path, capfd):
    def times_said():
        return capfd.readouterr().err.count("texts are longer and truncated there")

    encoder = ["text.channels=16", "text.vocabulary_size=500", "text.length=12"]
    stories = ["dataset.stories=10", "dataset.width=96", "dataset.height=48", "data.image_size=32"]
    chosen = prepare_config(registry(), dataset="storyworld", preset="tiny", flags={}, assignments=[*stories, *encoder])
    data = run_prepare(chosen, None, tmp_path / "data").folder
    assert times_said() == 1
    run = train_small(tmp_path / "run", "training.epochs=1", data=data)
    assert run.config()["text"]["length"] == 12
    run_evaluate(registry(), run, data, "test", resolve_metrics(registry(), ["mse"], []))
    assert times_said() == 0
    other = train_small(tmp_path / "other", "training.epochs=1", "text.length=10", data=data)
    assert times_said() == 1
    resume_train(registry(), other.folder, data=data, epochs=2)
    assert times_said() == 0


@pytest.mark.slow
def test_frozen_features_are_computed_once_and_equal_the_encoders(small_data, small_settings, tmp_path, monkeypatch):
    rows = []
    frozen = PretrainedEncoder.frozen

    def counted(self, pixels):
        rows.append(len(pixels))
        return frozen(self, pixels)

    monkeypatch.setattr(PretrainedEncoder, "frozen", counted)
    plain = [item for item in small_settings if not item.startswith("visual.")]
    manifest = open_prepared(small_data).manifest
    chosen = train_config(
        registry(),
        manifest=manifest,
        preset=None,
        config=None,
        flags={"visual.name": "mobilenet_v2"},
        assignments=[*plain, "visual.weights=random", "training.epochs=1"],
    )
    monkeypatch.setenv("VSR_CACHE", str(tmp_path / "cache"))
    folders = tmp_path / "cache" / "features"
    first = run_train(chosen, small_data, tmp_path / "1")
    prepared = open_prepared(small_data)
    images = len(np.unique(np.concatenate([prepared.windows(s).image_rows for s in ("train", "validation")])))
    # One gray image tells the shape of features when the half is stored; one may tell a row's size.
    assert images + 1 <= sum(rows) <= images + 2
    assert len(list(folders.iterdir())) == 1
    written = {path: path.stat().st_mtime_ns for path in folders.rglob("*.safetensors")}
    rows.clear()
    run_train(chosen, small_data, tmp_path / "2")  # the same seed, so the same random weights
    assert rows == []
    assert {path: path.stat().st_mtime_ns for path in folders.rglob("*.safetensors")} == written

    model, prepared = load_model(first, registry()), open_prepared(small_data)
    windows, device = prepared.windows("train"), torch.device("cpu")
    rows.clear()
    kept = extraction.frozen_features(
        prepared,
        model.visual,
        model.text,
        device=device,
        options=FeatureOptions(),
        splits=("train", "validation"),
    )
    assert rows == []  # a model that is read back finds them by their key
    afresh = extraction.Features(visual=None, text=None, tokens=kept.tokens)
    made = [
        Contexts(prepared.frames, windows, visual=model.visual, text=model.text, features=given, device=device)
        for given in (kept, afresh)
    ]
    indices = np.asarray([len(windows) - 1, 0])
    gathered, computed = (contexts.batch(indices).visual for contexts in made)
    assert gathered.shape == computed.shape == (2, 4, 1280)
    assert torch.allclose(gathered, computed, rtol=1e-4, atol=1e-5)
    other = build_part(
        "visual", chosen.parts["visual"], width=16, image_size=32, training_texts=prepared.training_texts
    )
    assert other.cache_key != model.visual.cache_key  # other random weights share nothing


def test_the_log_has_a_line_for_each_epoch(train_small, tmp_path, capsys):
    train_small(tmp_path / "run")
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch ")]
    assert len(lines) == 2
    assert "validation" in lines[0]
