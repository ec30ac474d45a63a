"""Folds partition stories by group and share the stored stories."""

from collections import Counter

import numpy as np
import pytest

from vsr_cli.api import VsrError
from vsr_cli.config.schema import DataOptions
from vsr_cli.data.prepared import open_prepared
from vsr_cli.data.resplit import assign_folds, groups_of, resplit, splits_of_fold

GROUPS = {f"s{number}": f"g{number // 3}" for number in range(20)} | {"alone": "alone", "again": "again"}


@pytest.mark.parametrize("folds", [2, 3, 7, 9])
def test_folds_partition_stories_by_group(folds):
    fold = assign_folds(GROUPS, folds, seed=0)
    assert fold.keys() == GROUPS.keys()
    assert set(fold.values()) == set(range(folds))
    for group in set(GROUPS.values()):
        assert len({fold[story] for story, its in GROUPS.items() if its == group}) == 1
    sizes = Counter(fold.values())
    assert max(sizes.values()) - min(sizes.values()) <= 3  # the largest group


def test_folds_depend_on_the_seed_and_not_on_the_order_of_the_stories():
    fold = assign_folds(GROUPS, 3, seed=0)
    assert assign_folds(dict(reversed(GROUPS.items())), 3, seed=0) == fold
    assert assign_folds(GROUPS, 3, seed=1) != fold


@pytest.mark.parametrize(
    ("groups", "folds", "complaint"),
    [
        ({"a": "a", "b": "b"}, 2, r"^--folds 2: needs 3 stories or groups of stories \(got 2 stories\); choose fewer"),
        (
            {"a": "g", "b": "g", "c": "g"},
            3,
            r"^--folds 3: needs 3 .*\(got 3 stories in 1 groups, which are never split\)",
        ),
    ],
)
def test_too_few_groups_are_refused(groups, folds, complaint):
    with pytest.raises(VsrError, match=complaint):
        assign_folds(groups, folds, seed=0)


@pytest.mark.parametrize("validation", [0.0, 0.2])
def test_one_fold_is_the_test_split(validation):
    fold = assign_folds(GROUPS, 3, seed=0)
    options = DataOptions(validation=validation)
    tests = []
    for held_out in range(3):
        splits = splits_of_fold(GROUPS, fold, held_out=held_out, options=options)
        assert splits.keys() == GROUPS.keys()
        assert {story for story, split in splits.items() if split == "test"} == {
            story for story in GROUPS if fold[story] == held_out
        }
        assert set(splits.values()) == {"train", "test", *(["validation"] if validation else [])}
        for group in set(GROUPS.values()):
            assert len({splits[story] for story, its in GROUPS.items() if its == group}) == 1
        tests += [story for story, split in splits.items() if split == "test"]
    assert sorted(tests) == sorted(GROUPS)


def windows_of(prepared):
    """All windows by story and first frame, with their rows of images and texts."""
    found = {}
    for split in ("train", "validation", "test"):
        windows = prepared.windows(split)
        for row, key in enumerate(zip(windows.stories, windows.starts.tolist(), strict=True)):
            assert key not in found
            found[key] = (split, windows.image_rows[row].tolist(), windows.text_rows[row].tolist())
    return found


def test_resplit_keeps_stories_and_changes_splits(small_data, tmp_path):
    prepared = open_prepared(small_data)
    groups = groups_of(prepared)
    splits = {story: ("test", "train", "validation")[number % 3] for number, story in enumerate(sorted(groups))}
    other = resplit(prepared, splits, tmp_path / "other")
    ours, theirs = windows_of(prepared), windows_of(other)
    assert ours.keys() == theirs.keys()
    for key, (split, *rows) in theirs.items():
        assert split == splits[key[0]]
        assert rows == list(ours[key][1:])
    assert groups_of(other) == groups
    assert other.fingerprint != prepared.fingerprint
    everything = np.arange(len(prepared.frames.images))
    assert np.array_equal(other.frames.images.gather(everything), prepared.frames.images.gather(everything))
    assert list(other.frames.texts) == list(prepared.frames.texts)


def test_resplit_reuses_complete_folders(small_data, tmp_path):
    prepared = open_prepared(small_data)
    splits = dict.fromkeys(groups_of(prepared), "test")
    made = resplit(prepared, splits, tmp_path / "other")
    before = (made.folder / "manifest.json").stat().st_mtime_ns
    assert resplit(prepared, splits, tmp_path / "other").fingerprint == made.fingerprint
    assert (made.folder / "manifest.json").stat().st_mtime_ns == before
    (made.folder / "manifest.json").unlink()
    next((made.folder / "chunks").iterdir()).unlink()
    again = resplit(prepared, splits, tmp_path / "other")
    assert again.fingerprint == made.fingerprint
    assert len(again.windows("test")) == len(windows_of(prepared))


def test_resplit_copies_where_links_fail(small_data, tmp_path, monkeypatch):
    def refuse(*of):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("os.link", refuse)
    prepared = open_prepared(small_data)
    splits = dict.fromkeys(groups_of(prepared), "test")
    assert len(resplit(prepared, splits, tmp_path / "other").windows("test")) == len(windows_of(prepared))
