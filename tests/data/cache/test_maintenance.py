"""Maintenance of the feature cache: list, verify, remove damage, prune."""

import json

import numpy as np
import pytest

from vsr_cli.data import shards
from vsr_cli.data.cache.maintenance import list_feature_sets, prune, remove_damaged, verify

from .encoders import (
    NAMES,
    Text,
    Visual,
    cut_short,
    flipped,
    prepared_of,
    text_of,
    visual_of,
)


def test_feature_sets_are_listed_verified_and_pruned(tmp_path, cache):
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


@pytest.mark.parametrize("damage", [cut_short, flipped("digest"), flipped("rows")], ids=["cut", "digest", "rows"])
def test_damaged_shards_are_removed_and_recomputed(tmp_path, cache, damage):
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


def test_feature_set_without_facts_is_listed(tmp_path, cache):
    visual_of(prepared_of(tmp_path / "a", *NAMES), Visual())
    (cache / "visual-abc-single" / "about.json").write_text("{")
    (kept,) = list_feature_sets()
    ((_, line),) = verify(kept)
    assert "missing or damaged" in line
    json.dumps(kept.record())
    remove_damaged(kept)
    assert list_feature_sets() == []
