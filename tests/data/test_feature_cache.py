"""The frozen-feature cache: nothing computed twice, whatever the folder, the order or the moment of a kill."""

import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from vsr_cli.api import Frame, Story, TokenBatch
from vsr_cli.config.experiment import resolve_prepare
from vsr_cli.config.resolve import Layer
from vsr_cli.config.schema import FeatureOptions
from vsr_cli.data import shards
from vsr_cli.data.cache import extraction, feature_set
from vsr_cli.data.cache.extraction import frozen_features, load_or_compute, text_request, visual_request
from vsr_cli.data.cache.maintenance import list_feature_sets, prune, remove_damaged, verify
from vsr_cli.data.preparation.chunks import Share
from vsr_cli.data.preparation.prepare import prepare_stories
from vsr_cli.data.preparation.workers import WorkerGroup
from vsr_cli.data.shards import map_shard
from vsr_cli.errors import VsrError
from vsr_cli.plugin.discovery import registry

from ..damage import damage

CPU = torch.device("cpu")
CHOSEN = {
    "dataset": {"name": "storyworld"},
    "visual": {"name": "tiny-cnn"},
    "text": {"name": "tiny-text"},
    "data": {"image_size": 16, "window": "sliding", "validation": 0, "test": 0.3},
}
LENGTH = 6


class Told:
    def __init__(self, *names):
        self.names = names

    def read(self, source):
        for name in self.names:
            frames = []
            for index in range(6):
                pixels = np.random.default_rng(list(f"{name}{index}".encode())).integers(0, 256, (16, 16, 3))
                Image.fromarray(pixels.astype(np.uint8)).save(buffer := io.BytesIO(), "PNG")
                frames.append(Frame(image=buffer.getvalue(), text=f"{name} {'and on ' * (index % 3)}{index}."))
            yield Story(id=name, frames=tuple(frames))

    def describe(self, source):
        return {}


class Visual(torch.nn.Module):
    """A third party's encoder: nothing of the cache's but `frozen` and `cache_key`."""

    def __init__(self, key="abc"):
        super().__init__()
        self.cache_key = key
        self.seen = 0

    def pixels(self, images):
        return images.float() / 255

    def frozen(self, pixels):
        self.seen += len(pixels)
        return pixels.mean(dim=(2, 3)) @ torch.arange(12.0).reshape(3, 4)


class Text(torch.nn.Module):
    """One vector a token: what stands at padding is noise that nobody may rely on."""

    cache_key = "tok"

    def __init__(self):
        super().__init__()
        self.seen = 0

    def tokenize(self, texts):
        lengths = [min(LENGTH, len(text.split())) for text in texts]
        mask = np.arange(LENGTH) < np.asarray(lengths)[:, None]
        ids = np.asarray([[sum(text.encode()) % 97 + at for at in range(LENGTH)] for text in texts])
        return TokenBatch(ids=np.where(mask, ids, 0), mask=mask)

    def frozen(self, ids, mask):
        self.seen += len(ids)
        noise = torch.rand(*ids.shape, 3)
        return torch.where(mask[..., None], ids[..., None] + torch.arange(3.0), noise)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VSR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "features"


def prepared_of(out, *names):
    config = resolve_prepare(registry(), preset="tiny", layers=[Layer("test", CHOSEN)])
    prepared, _ = prepare_stories(config, Told(*names), None, out)
    return prepared


def windows_of(prepared):
    return [prepared.windows(split) for split in ("train", "validation", "test")]


def visual_of(prepared, encoder, **options):
    return load_or_compute(
        visual_request(prepared, encoder, windows_of(prepared), device=CPU), FeatureOptions(**options)
    )


def text_of(prepared, encoder):
    return load_or_compute(text_request(prepared, encoder, windows_of(prepared), device=CPU), FeatureOptions())


NAMES = [f"story {number}" for number in range(9)]


def test_features_are_those_of_the_encoder_and_are_computed_once(tmp_path):
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


def test_other_data_with_the_same_pictures_share_them_and_only_new_ones_are_computed(tmp_path):
    visual_of(prepared_of(tmp_path / "a", *NAMES[:5]), Visual())
    encoder = Visual()
    other = prepared_of(tmp_path / "b", *NAMES[::-1])
    kept = visual_of(other, encoder)
    assert encoder.seen == 4 * 6
    fresh = visual_of(other, Visual("another key"))
    assert np.array_equal(kept.gather(np.arange(54)), fresh.gather(np.arange(54)))


def test_only_pictures_of_the_windows_are_encoded(tmp_path):
    prepared, encoder = prepared_of(tmp_path / "a", *NAMES), Visual()
    test = prepared.windows("test")
    load_or_compute(visual_request(prepared, encoder, [test], device=CPU), FeatureOptions())
    assert encoder.seen == len(np.unique(test.image_rows)) + 1 < 54


def test_of_tokens_only_the_real_ones_are_kept_and_the_others_are_zeros(tmp_path, cache):
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


def test_half_precision_takes_half_the_room_under_a_name_of_its_own(tmp_path, cache):
    prepared = prepared_of(tmp_path / "a", *NAMES)
    single, half = visual_of(prepared, Visual()), visual_of(prepared, Visual(), precision="half")
    rows = np.arange(54)
    assert half.gather(rows).dtype == np.float16
    assert np.allclose(single.gather(rows), half.gather(rows), rtol=1e-3)
    assert {path.name for path in cache.iterdir()} == {"visual-abc-single", "visual-abc-half"}


def test_shards_that_were_done_before_a_kill_are_not_done_again(tmp_path, monkeypatch):
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


def test_the_limit_is_respected_and_said(tmp_path, cache, capsys):
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
    assert "54 images, at most 0 MiB" in capsys.readouterr().err


def test_an_encoder_that_trains_from_its_first_layer_is_passed_by(tmp_path, cache):
    encoder = Visual(None)
    assert visual_of(prepared_of(tmp_path / "a", *NAMES), encoder) is None
    assert encoder.seen == 0
    assert not cache.exists()


def test_processes_share_the_work(tmp_path, monkeypatch):
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


def test_what_is_in_the_cache_can_be_listed_verified_and_pruned(tmp_path, cache):
    prepared = prepared_of(tmp_path / "a", *NAMES)
    visual_of(prepared, Visual())
    text_of(prepared, Text())
    by_name = {kept.name: kept for kept in list_feature_sets()}
    assert by_name.keys() == {"visual-abc-single", "text-tok-single"}
    assert by_name["visual-abc-single"].facts["row_shape"] == [4]
    assert by_name["text-tok-single"].facts["tokens"] is True
    assert [list(verify(kept)) for kept in by_name.values()] == [[], []]
    removed = prune(unused_days=1, to_bytes=None).removed
    assert removed == []
    least = min(kept.bytes for kept in by_name.values())
    assert len(prune(unused_days=None, to_bytes=least + 10_000).removed) <= 1
    assert len(prune(unused_days=0, to_bytes=None).removed) >= 1
    assert list_feature_sets() == []


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-8])


def flipped(tensor):
    """Make a function that flips a bit in a tensor of a shard."""

    def change(path):
        content = bytearray(path.read_bytes())
        start = content.find(map_shard(path).unread(tensor).tobytes())
        assert start > 0
        content[start + 5] ^= 4
        path.write_bytes(content)

    return change


@pytest.mark.parametrize("damage", [cut_short, flipped("digest"), flipped("rows")], ids=["cut", "digest", "rows"])
def test_damage_is_found_and_removed_and_the_rows_come_back(tmp_path, cache, damage):
    prepared = prepared_of(tmp_path / "a", *NAMES)
    truth = visual_of(prepared, Visual()).gather(np.arange(54))
    (shard,) = cache.glob("visual-abc-single/*.safetensors")
    damage(shard)
    shards._verified.clear()  # as a new process
    (kept,) = list_feature_sets()
    ((path, line),) = verify(kept)
    assert path == shard
    assert line.startswith(f"{shard}: is damaged")
    assert remove_damaged(kept) > 0
    assert not shard.exists()
    assert np.array_equal(visual_of(prepared, Visual()).gather(np.arange(54)), truth)


@pytest.mark.parametrize("damage", [cut_short, flipped("digest")], ids=["cut", "digest"])
def test_a_damaged_file_is_never_used_and_computed_again_with_one_warning(tmp_path, cache, damage, capsys):
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


def test_damaged_rows_are_noticed_when_they_are_first_read_and_the_remedy_is_named(tmp_path, cache):
    prepared = prepared_of(tmp_path / "a", *NAMES)
    visual_of(prepared, Visual())
    (shard,) = cache.glob("visual-abc-single/*.safetensors")
    flipped("rows")(shard)
    shards._verified.clear()
    rows = visual_of(prepared, Visual())
    with pytest.raises(VsrError, match=r"safetensors: is damaged: .*'vsr cache verify --repair' removes"):
        rows.gather(np.arange(54))


def test_a_set_whose_facts_are_lost_is_found_too(tmp_path, cache):
    visual_of(prepared_of(tmp_path / "a", *NAMES), Visual())
    (cache / "visual-abc-single" / "about.json").write_text("{")
    (kept,) = list_feature_sets()
    ((_, line),) = verify(kept)
    assert "missing or damaged" in line
    json.dumps(kept.record())
    remove_damaged(kept)
    assert list_feature_sets() == []


def test_the_size_of_a_step_does_not_change_what_is_kept(tmp_path, monkeypatch):
    prepared = prepared_of(tmp_path / "a", *NAMES)
    whole = visual_of(prepared, Visual("one")).gather(np.arange(54))
    monkeypatch.setattr(extraction, "BATCH", 5)
    assert np.allclose(visual_of(prepared, Visual("two")).gather(np.arange(54)), whole, rtol=1e-6)


def test_damage_in_any_file_of_the_cache_is_mended_or_a_line_that_names_it(tmp_path, cache):
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
