"""`vsr cache`: list, verify, repair and prune."""

import json


def test_cache_is_listed_verified_repaired_and_pruned(vsr, workspace, write_story, tmp_path, monkeypatch):
    for number in (1, 2):
        write_story(tmp_path / f"mine/{number}", 6)
    monkeypatch.setenv("VSR_CACHE", str(tmp_path / "cache"))
    assert json.loads(vsr("cache list --json").out) == {"folder": str(tmp_path / "cache"), "features": []}
    encoder = "--visual mobilenet_v2 --set visual.weights=random"
    assert vsr(f"prepare {tmp_path / 'mine'} --preset tiny --out {tmp_path / 'out'} {encoder}").code == 0
    weights, listed = sorted(json.loads(vsr("cache list --json").out)["features"], key=lambda each: each["name"])
    assert (weights["kind"], weights["shape"], weights["parameters"]) == ("visual", [1280], 2_223_872)
    assert (listed["kind"], listed["row_shape"], listed["shards"]) == ("visual", [1280], 1)
    assert "1280" in vsr("cache list").out
    assert "weights" in vsr("cache list").out
    assert vsr("cache verify").code == 0
    (shard,) = (tmp_path / "cache" / "features").rglob("*.safetensors")
    shard.write_bytes(shard.read_bytes()[:-1])
    damaged = vsr("cache verify")
    assert damaged.code == 1
    assert str(shard) in damaged.errors[0]
    assert vsr("cache verify --repair").code == 0
    assert vsr("cache verify --json").out == '{"sets": 2, "damaged": [], "removed": false}\n'
    assert json.loads(vsr("cache prune --unused-days 1 --json").out) == {"removed": []}
    assert len(json.loads(vsr("cache prune --json").out)["removed"]) == 2
    assert json.loads(vsr("cache list --json").out)["features"] == []
