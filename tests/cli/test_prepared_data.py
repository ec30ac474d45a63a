"""Prepared folders as they are typed: again, in shards, elsewhere, and the cache beside them."""

import json

import pytest


@pytest.fixture
def stories(write_story, tmp_path):
    for number in range(1, 13):
        write_story(tmp_path / f"mine/{number}", 6)
        for text in (tmp_path / f"mine/{number}").glob("*.txt"):
            text.write_text(f"Story {number}: {text.read_text()}")
    return tmp_path / "mine"


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_preparing_again_says_that_there_is_nothing_to_do(vsr, place, stories, tmp_path):
    line = f"prepare {stories} --preset tiny --out {tmp_path / 'out'}"
    assert vsr(line).code == 0
    before = files(tmp_path / "out")
    answer = vsr(line)
    assert answer.code == 0
    assert "all 12 stories are stored already and unchanged" in answer.err
    assert "nothing to do" in answer.err
    assert files(tmp_path / "out") == before


def test_shards_are_put_together_by_a_later_prepare(vsr, place, stories, tmp_path):
    line = f"prepare {stories} --preset tiny --out"
    assert vsr(f"{line} {tmp_path / 'whole'}").code == 0
    stored = 0
    for shard in ("2/3", "1/3", "3/3"):
        answer = vsr(f"{line} {tmp_path / 'out'} --shard {shard} --json")
        assert answer.code == 0, answer.err
        stored += json.loads(answer.out)["stories_stored"]
    assert stored == 12
    (mistake,) = vsr(f"train --data {tmp_path / 'out'}").errors
    assert "run the same 'vsr prepare' again" in mistake
    assert "all 12 stories are stored already" in vsr(f"{line} {tmp_path / 'out'}").err
    assert files(tmp_path / "out") == files(tmp_path / "whole")


@pytest.mark.parametrize("shard", ["0/3", "4/3", "1", "a/b", "1/3/3", "-1/2"])
def test_a_shard_of_another_form_is_a_mistake(vsr, place, stories, tmp_path, shard):
    answer = vsr(f"prepare {stories} --preset tiny --out {tmp_path / 'out'} --shard={shard}")
    assert answer.code == 2
    assert "i from 1 to n" in answer.errors[0]
    assert not (tmp_path / "out").exists()


def test_a_run_is_scored_on_a_whole_collection_prepared_elsewhere_with_other_encoders(vsr, place, stories, tmp_path):
    line = f"prepare {stories} --preset tiny --window sliding --split test --out {tmp_path / 'out'} --json"
    encoder = "--visual mobilenet_v2 --set visual.weights=random"
    prepared = vsr(f"{line} {encoder}")
    assert prepared.code == 0, prepared.err
    assert json.loads(prepared.out)["counts"]["windows_kept"] == {"train": 0, "validation": 0, "test": 24}
    (run,) = (place / "runs").iterdir()
    answer = vsr(f"evaluate --run {run} --data {tmp_path / 'out'} --metrics bleu --json")
    assert answer.code == 0, answer.err
    result = json.loads(answer.out)
    assert (result["split"], result["stories"], result["windows"]) == ("test", 12, 24)
    assert "splitby:test|" in result["signature"]
    assert result["data"] == str(tmp_path / "out")


def test_the_cache_is_listed_verified_repaired_and_pruned(vsr, place, stories, tmp_path, monkeypatch):
    monkeypatch.setenv("VSR_CACHE", str(tmp_path / "cache"))
    assert json.loads(vsr("cache list --json").out) == {"folder": str(tmp_path / "cache"), "features": []}
    encoder = "--visual mobilenet_v2 --set visual.weights=random"
    assert vsr(f"prepare {stories} --preset tiny --out {tmp_path / 'out'} {encoder}").code == 0
    (listed,) = json.loads(vsr("cache list --json").out)["features"]
    assert (listed["kind"], listed["row_shape"], listed["shards"]) == ("visual", [1280], 1)
    assert "1280" in vsr("cache list").out
    assert vsr("cache verify").code == 0
    (shard,) = (tmp_path / "cache").rglob("*.safetensors")
    shard.write_bytes(shard.read_bytes()[:-1])
    damaged = vsr("cache verify")
    assert damaged.code == 1
    assert str(shard) in damaged.errors[0]
    assert vsr("cache verify --repair").code == 0
    assert vsr("cache verify --json").out == '{"sets": 1, "damaged": [], "removed": false}\n'
    assert json.loads(vsr("cache prune --unused-days 1 --json").out) == {"removed": []}
    assert len(json.loads(vsr("cache prune --json").out)["removed"]) == 1
    assert json.loads(vsr("cache list --json").out)["features"] == []
