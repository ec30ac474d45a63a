"""The feature cache: nothing is computed twice, also after a kill."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from vsr_cli.config.schema import FeatureOptions
from vsr_cli.data import shards
from vsr_cli.data.cache import encoding, feature_set
from vsr_cli.data.cache.extraction import frozen_features, load_or_compute, text_request, visual_request
from vsr_cli.data.cache.maintenance import list_feature_sets, verify
from vsr_cli.data.preparation.chunks import Share
from vsr_cli.data.preparation.workers import WorkerGroup
from vsr_cli.errors import VsrError

from ...damage import damage
from .encoders import CPU, NAMES, Text, Visual, cut_short, flipped, prepared_of, text_of, visual_of, windows_of


def test_features_equal_the_encoder_s_and_are_computed_once(tmp_path):
    prepared, encoder = prepared_of(tmp_path / "a", *NAMES), Visual()
    rows = np.arange(54)
    kept = visual_of(prepared, encoder)
    assert encoder.seen == 54 + 1  # one more to learn what a row looks like
    with torch.no_grad():
        pixels = torch.from_numpy(prepared.frames.images.gather(rows)).movedim(-1, -3)
        truth = Visual().frozen(encoder.pixels(pixels)).numpy()
    assert np.array_equal(kept.gather(rows), truth)
    assert kept.gather(rows.reshape(6, 9)).shape == (6, 9, 4)
    again = Visual()
    assert np.array_equal(visual_of(prepared, again).gather(rows), truth)
    assert again.seen == 0


def test_only_new_images_of_other_data_are_computed(tmp_path):
    visual_of(prepared_of(tmp_path / "a", *NAMES[:5]), Visual())
    encoder = Visual()
    other = prepared_of(tmp_path / "b", *NAMES[::-1])
    kept = visual_of(other, encoder)
    assert encoder.seen == 4 * 6
    fresh = visual_of(other, Visual("another key"))
    assert np.array_equal(kept.gather(np.arange(54)), fresh.gather(np.arange(54)))


def test_only_images_in_windows_are_encoded(tmp_path):
    prepared, encoder = prepared_of(tmp_path / "a", *NAMES), Visual()
    test = prepared.windows("test")
    load_or_compute(visual_request(prepared, encoder, [test], device=CPU), FeatureOptions())
    assert encoder.seen == len(np.unique(test.image_rows)) + 1 < 54


def test_only_real_tokens_are_stored(tmp_path, cache):
    prepared, encoder = prepared_of(tmp_path / "a", *NAMES), Text()
    kept = text_of(prepared, encoder)
    texts = list(prepared.frames.texts)
    tokens = encoder.tokenize(texts)
    truth = np.where(tokens.mask[..., None], tokens.ids[..., None] + np.arange(3.0), 0)
    shuffled = np.random.default_rng(0).permutation(len(texts)).reshape(6, 9)
    assert np.array_equal(kept.gather(shuffled), truth[shuffled])
    (shard,) = cache.glob("text-tok-single/*.safetensors")
    real = int(tokens.mask.sum())
    assert feature_set.map_shard(shard)["rows"].shape == (real, 3)
    assert real < tokens.mask.size


def test_half_precision_features_use_half_the_space(tmp_path, cache):
    prepared = prepared_of(tmp_path / "a", *NAMES)
    single, half = visual_of(prepared, Visual()), visual_of(prepared, Visual(), precision="half")
    rows = np.arange(54)
    assert half.gather(rows).dtype == np.float16
    assert np.allclose(single.gather(rows), half.gather(rows), rtol=1e-3)
    assert {path.name for path in cache.iterdir()} == {"visual-abc-single", "visual-abc-half"}


def test_bf16_features_are_close_and_have_a_key_of_their_own(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    prepared, rows = prepared_of(tmp_path / "a", *NAMES), np.arange(54)
    single, half = visual_of(prepared, Visual()), visual_of(prepared, Visual(), compute="bf16")
    assert not np.array_equal(single.gather(rows), half.gather(rows))
    assert np.allclose(single.gather(rows), half.gather(rows), rtol=2e-2)
    assert {path.name for path in cache.iterdir()} == {"visual-abc-single", "visual-abc-single-bf16"}
    assert {kept.facts["compute"] for kept in list_feature_sets()} == {"fp32", "bf16"}
    again = Visual()
    assert np.array_equal(visual_of(prepared, again, compute="bf16").gather(rows), half.gather(rows))
    assert again.seen == 0


@pytest.mark.parametrize(("capability", "warned"), [("AVX2", True), ("AVX512", False)])
def test_bf16_on_a_processor_without_it_is_a_warning(tmp_path, capsys, monkeypatch, capability, warned):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    visual_of(prepared_of(tmp_path / "a", *NAMES), Visual(), compute="bf16")
    assert ("warning: this processor has no bf16 instructions" in capsys.readouterr().err) is warned


def test_device_without_bf16_is_refused():
    encoding.refuse_unsupported("fp32", torch.device("mps"))
    with pytest.raises(VsrError, match=r"features.compute: this device has no bf16 \(got mps\); use fp32"):
        encoding.refuse_unsupported("bf16", torch.device("mps"))


@pytest.mark.parametrize(("many", "entered"), [(54, 1), (55, 0)])
def test_encoder_prepares_itself_for_many_rows_only(tmp_path, monkeypatch, many, entered):
    monkeypatch.setattr(encoding, "MANY", many)
    encoder, contexts = Visual(), []

    @contextmanager
    def encoding_many():
        contexts.append(encoder.seen)
        yield

    encoder.encoding_many = encoding_many
    visual_of(prepared_of(tmp_path / "a", *NAMES), encoder)
    assert contexts == [1] * entered  # one row was computed to learn what a row looks like


def test_progress_advances_by_batches(tmp_path):
    prepared, done = prepared_of(tmp_path / "a", *NAMES), []
    for request in (visual_request, text_request):
        wanted = request(prepared, Visual() if request is visual_request else Text(), windows_of(prepared), device=CPU)
        wanted.compute(wanted.rows, FeatureOptions(), done.append)
    assert done == [32, 22, 32, 22]


def test_finished_shards_survive_a_kill(tmp_path, monkeypatch):
    monkeypatch.setattr(feature_set, "ROWS_PER_SHARD", (8, 8))
    prepared = prepared_of(tmp_path / "a", *NAMES)
    whole = visual_of(prepared, Visual("whole")).gather(np.arange(54))

    class Dying(Visual):
        def frozen(self, pixels):
            if self.seen > 30:
                raise KeyboardInterrupt
            return super().frozen(pixels)

    with pytest.raises(KeyboardInterrupt):
        visual_of(prepared, Dying())
    encoder = Visual()
    kept = visual_of(prepared, encoder)
    assert encoder.seen == 54 - 32
    assert np.array_equal(kept.gather(np.arange(54)), whole)


def test_cache_limit_is_respected_and_logged(tmp_path, cache, capsys):
    prepared = prepared_of(tmp_path / "a", *NAMES)
    encoder = Visual()
    assert visual_of(prepared, encoder, limit=1e-9) is None
    assert encoder.seen == 1
    assert not cache.exists()
    assert "would exceed the limit" in (said := capsys.readouterr().err)
    assert "vsr cache prune" in said
    found = frozen_features(prepared, Visual(), Text(), device=CPU, options=FeatureOptions(limit=1e-9))
    assert found.visual is None is found.text
    assert visual_of(prepared, Visual()) is not None
    assert "54 images, at most 864 bytes" in capsys.readouterr().err


def test_encoder_without_frozen_layers_is_not_cached(tmp_path, cache):
    encoder = Visual(None)
    assert visual_of(prepared_of(tmp_path / "a", *NAMES), encoder) is None
    assert encoder.seen == 0
    assert not cache.exists()


def test_processes_divide_the_shards(tmp_path, monkeypatch):
    monkeypatch.setattr(feature_set, "ROWS_PER_SHARD", (8, 8))
    prepared = prepared_of(tmp_path / "a", *NAMES)
    windows, barrier = windows_of(prepared), threading.Barrier(2)
    encoders = [Visual(), Visual()]

    def work(number):
        workers = WorkerGroup(Share(number, 2), Share(number, 2), wait=lambda: barrier.wait(30))
        return load_or_compute(
            visual_request(prepared, encoders[number], windows, device=CPU), FeatureOptions(), workers=workers
        )

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(work, range(2)))
    alone = visual_of(prepared, Visual("alone")).gather(np.arange(54))
    assert all(np.array_equal(rows.gather(np.arange(54)), alone) for rows in found)
    assert [encoder.seen for encoder in encoders] == [8 * 3 + 6 + 1, 8 * 3 + 1]


@pytest.mark.parametrize("damage", [cut_short, flipped("digest")], ids=["cut", "digest"])
def test_damaged_shard_is_recomputed_with_one_warning(tmp_path, cache, damage, capsys):
    prepared = prepared_of(tmp_path / "a", *NAMES)
    truth = visual_of(prepared, Visual()).gather(np.arange(54))
    (shard,) = cache.glob("visual-abc-single/*.safetensors")
    damage(shard)
    shards._verified.clear()
    again = Visual()
    assert np.array_equal(visual_of(prepared, again).gather(np.arange(54)), truth)
    assert again.seen >= 54
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1
    assert str(shard) in warnings[0]
    assert list(verify(list_feature_sets()[0])) == []


def test_damaged_rows_are_an_error_when_first_read(tmp_path, cache):
    prepared = prepared_of(tmp_path / "a", *NAMES)
    visual_of(prepared, Visual())
    (shard,) = cache.glob("visual-abc-single/*.safetensors")
    flipped("rows")(shard)
    shards._verified.clear()
    rows = visual_of(prepared, Visual())
    with pytest.raises(VsrError, match=r"safetensors: is damaged: .*'vsr cache verify --repair' removes"):
        rows.gather(np.arange(54))


def test_batch_size_does_not_change_features(tmp_path, monkeypatch):
    prepared = prepared_of(tmp_path / "a", *NAMES)
    whole = visual_of(prepared, Visual("one")).gather(np.arange(54))
    monkeypatch.setattr(encoding, "BATCH", 5)
    assert np.allclose(visual_of(prepared, Visual("two")).gather(np.arange(54)), whole, rtol=1e-6)


def test_damage_in_any_cache_file_is_repaired_or_reported(tmp_path, cache):
    prepared = prepared_of(tmp_path / "a", *NAMES)

    def observed():
        return [rows.gather(np.arange(54)) for rows in (visual_of(prepared, Visual()), text_of(prepared, Text()))]

    truth = observed()
    whole = {path: path.read_bytes() for path in cache.rglob("*") if path.is_file()}
    assert {path.suffix for path in whole} == {".json", ".safetensors"}
    random = np.random.default_rng(3)
    refused = 0
    for number in range(120):
        path = list(whole)[number % len(whole)]
        way = damage(path, random)
        shards._verified.clear()
        error = None
        try:
            found = observed()
        except VsrError as raised:
            error = str(raised)
        if error is None:
            assert all(map(np.array_equal, found, truth)), f"{path}: {way}: other features, and no error"
        else:
            refused += 1
            assert str(path) in error, f"{path}: {way}: {error}"
            assert "vsr cache verify --repair" in error, f"{path}: {way}: {error}"
        for each in set(cache.rglob("*.safetensors")) - whole.keys():
            each.unlink()
        for each, content in whole.items():
            each.write_bytes(content)
    assert 5 < refused < 60  # rows alone are noticed so late that they are not computed again
