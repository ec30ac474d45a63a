"""Encoders without their frozen half: the cache of frozen weights, runs that link to it, and equal numbers."""

import copy
import pickle
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.folders import contents
from tests.plugins.text_encoders.small_encoders import save_model
from vsr_cli.api import Decoding
from vsr_cli.config.experiment import resolve_metrics
from vsr_cli.data.cache.frozen_weights import FROZEN
from vsr_cli.data.cache.maintenance import list_feature_sets, prune, remove_damaged, verify
from vsr_cli.data.prepared import open_prepared
from vsr_cli.errors import VsrError
from vsr_cli.evaluation.evaluate import evaluate
from vsr_cli.evaluation.model_predictions import Part
from vsr_cli.files import checksums
from vsr_cli.model import frozen_store
from vsr_cli.model.frozen_store import build_frozen_halves, pending_halves
from vsr_cli.model.weights import load_model, parameter_counts
from vsr_cli.plugin.discovery import registry
from vsr_cli.workflows.training import resume_train
from vsr_plugins.text_encoders.pretrained import TransformersEncoder
from vsr_plugins.visual_encoders.pretrained import PretrainedEncoder

VISUAL = ["visual.name=torchvision", "visual.architecture=mobilenet_v3_small", "visual.weights=random"]
WORDS = "embeddings.word_embeddings.weight"
STEADY = ("training.schedule=constant", "training.warmup_ratio=0")
HALVES = {"frozen-visual.safetensors", "frozen-text.safetensors"}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VSR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(params=["all", 1])
def settings(request, tmp_path):
    """Frozen encoders: MobileNetV3, and a small BERT, of which one layer or all are frozen."""
    model = save_model(tmp_path / "bert", "bert")
    text = ["text.name=hf-text", f"text.model={model}", f"text.frozen_layers={request.param}", "text.length=16"]
    return [*VISUAL, *text, "training.epochs=1"]


@pytest.fixture
def build_none(monkeypatch):
    """Return a context in which a frozen half that is built is an error."""

    def refuse(self):
        assert self.pending is None, "a frozen half is built"

    @contextmanager
    def refusing():
        with monkeypatch.context() as patch:
            for encoder in (PretrainedEncoder, TransformersEncoder):
                patch.setattr(encoder, "build_frozen_half", refuse)
            yield

    return refusing


@pytest.fixture
def no_store(monkeypatch):
    """Return a function after whose call encoders are built whole."""

    def arrange():
        monkeypatch.setattr(frozen_store, "_identity", lambda *given: None)

    return arrange


def trained(run):
    return (run.checkpoint("last") / "model.safetensors").read_bytes()


def whole_state(run):
    model = load_model(run, registry())
    build_frozen_halves(model)
    return model.state_dict()


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_training_with_cached_features_builds_no_frozen_half(train_small, tmp_path, settings, build_none, no_store):
    first = train_small(tmp_path / "first", *settings)
    with build_none():
        second = train_small(tmp_path / "second", *settings)
    assert trained(first) == trained(second)
    assert {path.name for path in second.folder.glob("frozen-*")} == HALVES
    assert {path.stat().st_nlink for path in second.folder.glob("frozen-*")} == {3}  # the cache's and both runs'
    no_store()
    whole = train_small(tmp_path / "whole", *settings)
    assert trained(first) == trained(whole)
    assert not list(whole.folder.glob("frozen-*"))
    assert second.facts()["parameters"] == whole.facts()["parameters"]
    assert same(whole_state(whole), whole_state(first))
    assert contents(whole.assets) == contents(second.assets)


def test_evaluation_with_cached_features_builds_a_frozen_half_only_to_embed_predictions(
    train_small, tmp_path, settings, build_none
):
    run = train_small(tmp_path / "run", *settings)

    def scored(*metrics):
        prepared = open_prepared(Path(run.facts()["data"]))
        parts = [Part(prepared, prepared, lambda: load_model(run, registry()))]
        choices = resolve_metrics(registry(), list(metrics), [])
        return evaluate(parts, prepared, "test", choices, decoding=Decoding(), device=torch.device("cpu")).result

    scored("bleu")  # encodes the test split
    with build_none():
        assert scored("bleu", "mse", "diversity-image")["metrics"]["bleu"]["baselines"]["mean"]["value"] >= 0
        with pytest.raises(AssertionError, match="a frozen half is built"):
            scored("cosine-text")


def test_loaded_run_builds_the_half_at_its_first_use_and_can_be_copied(train_small, tmp_path, settings):
    run = train_small(tmp_path / "run", *settings)
    model = load_model(run, registry())
    assert [section for section, _ in pending_halves(model)] == ["visual", "text"]
    counts = parameter_counts(model)
    copied = pickle.loads(pickle.dumps(model.text))
    state = torch.get_rng_state()
    features = [encoder.frozen(*given(encoder)) for encoder, given in ((model.visual, pixels), (copied, ids))]
    assert torch.equal(torch.get_rng_state(), state)
    assert all(part.isfinite().all() for part in features)
    assert (model.visual.pending, copied.pending) == (None, None)
    assert not any(weight.requires_grad for weight in model.visual.network.parameters())
    model = copy.deepcopy(model)
    build_frozen_halves(model)
    assert torch.equal(model.text.frozen(*ids(model.text)), features[1])
    assert parameter_counts(model) == counts


def pixels(encoder):
    return (encoder.pixels(torch.full((1, 3, 32, 32), 7, dtype=torch.uint8)),)


def ids(encoder):
    tokens = encoder.tokenize(["mara opens the box"])
    return torch.from_numpy(tokens.ids), torch.from_numpy(tokens.mask)


@pytest.mark.parametrize("name", ["weights.safetensors", "about.json", "assets/preprocessing.json"])
def test_damaged_entry_is_made_again(train_small, tmp_path, cache, capfd, name):
    first = train_small(tmp_path / "first", *VISUAL, "training.epochs=1")
    (entry,) = (cache / FROZEN).iterdir()
    content = (entry / name).read_bytes()
    (entry / name).unlink()  # the run has a link to it
    (entry / name).write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    assert train_small(tmp_path / "second", *VISUAL, "training.epochs=1").folder.is_dir()
    assert "these frozen weights are made again" in " ".join(capfd.readouterr().err.split())
    assert trained(first) == (tmp_path / "second/checkpoints/last/model.safetensors").read_bytes()
    assert (entry / name).read_bytes() == content


def test_changed_weights_are_another_source(train_small, tmp_path, cache):
    save_model(tmp_path / "bert", "bert")
    settings = ["text.name=hf-text", f"text.model={tmp_path / 'bert'}", "text.length=16", "training.epochs=1"]
    first = train_small(tmp_path / "first", *settings)
    save_model(tmp_path / "bert", "bert")  # the same bytes, in new files
    assert train_small(tmp_path / "second", *settings).frozen_halves()["text"].cache_key == key(first)
    assert len(list((cache / FROZEN).iterdir())) == 2
    file = tmp_path / "bert" / "model.safetensors"
    tensors = load_file(file)
    save_file({**tensors, WORDS: tensors[WORDS] + 1}, file, metadata={"format": "pt"})
    assert key(train_small(tmp_path / "third", *settings)) != key(first)


def key(run):
    return run.frozen_halves()["text"].cache_key


def test_runs_and_cache_do_not_need_each_other(train_small, tmp_path, cache):
    first = train_small(tmp_path / "first", *VISUAL, "training.epochs=1")
    second = train_small(tmp_path / "second", *VISUAL, "training.epochs=1")
    expected = whole_state(first)
    shutil.rmtree(first.folder)
    third = train_small(tmp_path / "third", *VISUAL, "training.epochs=1")
    shutil.rmtree(cache)
    assert same(whole_state(second), expected)
    assert same(whole_state(third), expected)


def test_damaged_half_of_a_run_is_refused(train_small, tmp_path):
    run = train_small(tmp_path / "run", *VISUAL, "training.epochs=1")
    file = run.folder / "frozen-visual.safetensors"
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.unlink()
    file.write_bytes(content)
    checksums._known.clear()
    with pytest.raises(VsrError, match=r"frozen-visual.safetensors: is damaged: its checksum differs; restore"):
        load_model(run, registry())
    file.unlink()
    with pytest.raises(VsrError, match=r"frozen-visual.safetensors: is missing; restore"):
        load_model(run, registry())


def test_resumed_run_equals_one_that_was_not_interrupted(train_small, tmp_path, small_data, build_none):
    whole = train_small(tmp_path / "whole", *VISUAL, "training.epochs=2", *STEADY)
    part = train_small(tmp_path / "part", *VISUAL, "training.epochs=1", *STEADY)
    with build_none():
        resume_train(registry(), part.folder, data=small_data, epochs=2)
    assert trained(part) == trained(whole)


def test_entries_are_listed_verified_and_pruned(train_small, tmp_path):
    train_small(tmp_path / "run", *VISUAL, "training.epochs=1")
    (weights,) = (kept for kept in list_feature_sets() if kept.is_weights)
    assert weights.name.startswith("frozen/visual-")
    assert weights.record()["parameters"] == 1_517_856
    assert list(verify(weights)) == []
    (weights.folder / "assets" / "preprocessing.json").write_text("{}")
    assert "is damaged: its checksum differs" in next(verify(weights))[1]
    assert remove_damaged(weights) == weights.bytes
    assert not weights.folder.exists()
    prune(unused_days=None, to_bytes=0)
    assert list_feature_sets() == []


def test_full_cache_is_no_error(train_small, tmp_path, cache):
    run = train_small(tmp_path / "run", *VISUAL, "training.epochs=1", "features.limit=0.001")
    assert not (cache / FROZEN).exists()
    assert run.frozen_halves() == {}
    assert [section for section, _ in pending_halves(load_model(run, registry()))] == []
