"""Assignment of stories to splits."""

import random
from itertools import groupby

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vsr_cli.api import natural
from vsr_cli.config.experiment import resolve_prepare
from vsr_cli.config.resolve import Layer, parse_set, preset_layer
from vsr_cli.config.schema import DataOptions
from vsr_cli.data.splits import SPLITS, Membership, assign_splits, count_splits
from vsr_cli.errors import VsrError
from vsr_cli.plugin.discovery import registry


def assign(stories, validation=0.1, test=0.1, seed=0, split="auto", split_file=None):
    options = DataOptions(validation=validation, test=test, seed=seed, split=split, split_file=split_file)
    return assign_splits(stories, options)


def alone(count, official=None):
    return {f"story {index}": Membership(f"story {index}", official) for index in range(count)}


def runs(stories, assigned):
    """The splits and the sizes of the runs that groups make, in the natural order of their first stories."""
    groups = dict.fromkeys(stories[story].group for story in sorted(stories, key=natural))
    of_group = {member.group: assigned[story] for story, member in stories.items()}
    return [(split, len(list(run))) for split, run in groupby(of_group[group] for group in groups)]


def groups_in(stories, assigned, split):
    return {member.group for story, member in stories.items() if assigned[story] == split}


NO_OFFICIAL = st.none()


@st.composite
def grouped_stories(draw, officials=NO_OFFICIAL, least=1):
    """Stories in groups; all of a group are of one official split."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=least, max_size=12))
    stories = {}
    for group, size in enumerate(sizes):
        official = draw(officials)
        stories |= {f"{group}/{index}": Membership(f"group {group}", official) for index in range(size)}
    return stories


official_splits = st.sampled_from(["train", "train", "validation", "test"])
shares = st.sampled_from([0.0, 0.1, 0.25, 0.4])
SPLITTING = ["auto", "group", "block"]
"""The methods that answer for any stories; `official` does so where the source has a split."""


@given(
    stories=st.one_of(grouped_stories(), grouped_stories(official_splits)),
    validation=shares,
    test=shares,
    seed=st.integers(0, 5),
    split=st.sampled_from([*SPLITTING, *SPLITS]),
)
def test_every_story_and_every_group_is_in_exactly_one_split(stories, validation, test, seed, split):
    assigned = assign(stories, validation, test, seed, split)
    assert assigned.keys() == stories.keys()
    assert set(assigned.values()) <= set(SPLITS)
    for group in {member.group for member in stories.values()}:
        assert len({assigned[story] for story, member in stories.items() if member.group == group}) == 1


@given(
    stories=grouped_stories(st.one_of(st.none(), official_splits)),
    validation=shares,
    test=shares,
    split=st.sampled_from([*SPLITTING, *SPLITS]),
    data=st.data(),
)
def test_the_order_of_the_stories_does_not_matter(stories, validation, test, split, data):
    shuffled = dict(data.draw(st.permutations(list(stories.items()))))
    assert assign(shuffled, validation, test, split=split) == assign(stories, validation, test, split=split)


@given(
    stories=grouped_stories(),
    validation=shares,
    test=shares,
    seed=st.integers(0, 20),
    split=st.sampled_from(SPLITTING),
)
def test_train_is_never_empty(stories, validation, test, seed, split):
    assert groups_in(stories, assign(stories, validation, test, seed, split), "train")


@given(
    count=st.integers(3, 20),
    validation=st.sampled_from([0, 0.01, 0.3]),
    test=st.sampled_from([0, 0.01, 0.3]),
    split=st.sampled_from(SPLITTING),
)
def test_split_has_stories_if_and_only_if_requested(count, validation, test, split):
    stories = alone(count)
    assigned = assign(stories, validation, test, split=split)
    assert bool(groups_in(stories, assigned, "validation")) == (validation > 0)
    assert bool(groups_in(stories, assigned, "test")) == (test > 0)


@given(stories=grouped_stories(official_splits), validation=shares, test=shares, seed=st.integers(0, 5))
def test_official_held_out_stories_stay(stories, validation, test, seed):
    assigned = assign(stories, validation, test, seed)
    for story, member in stories.items():
        if member.official in ("validation", "test"):
            assert assigned[story] == member.official
        else:
            assert assigned[story] != "test"


@given(stories=grouped_stories(st.sampled_from(["train", "test"]), least=2), seed=st.integers(0, 5))
def test_a_missing_validation_split_is_carved_from_official_train_by_group(stories, seed):
    train = groups_in(stories, {story: member.official for story, member in stories.items()}, "train")
    assume(len(train) > 1)
    assigned = assign(stories, validation=0.1, seed=seed)
    carved = groups_in(stories, assigned, "validation")
    assert carved
    assert carved < train
    assert groups_in(stories, assigned, "train") == train - carved


def test_an_official_validation_split_leaves_train_whole():
    stories = {"a": Membership("a", "train"), "b": Membership("b", "train"), "c": Membership("c", "validation")}
    assert assign(stories, validation=0.4, test=0.4) == {"a": "train", "b": "train", "c": "validation"}


def test_no_validation_is_carved_where_none_is_asked_for():
    stories = alone(9, "train") | {"held": Membership("held", "test")}
    assert set(assign(stories, validation=0.0).values()) == {"train", "test"}


def test_groups_of_any_size_fill_every_split_there_are_enough_for():
    sizes = {"a": 1, "b": 1, "c": 100}
    stories = {f"{group}/{index}": Membership(group, None) for group, size in sizes.items() for index in range(size)}
    for seed in range(6):
        assert set(assign(stories, seed=seed).values()) == set(SPLITS)


def test_a_story_follows_the_official_split_of_its_group():
    stories = alone(8) | {"a": Membership("g", "test"), "b": Membership("g", None)}
    assert {assign(stories, seed=seed)["b"] for seed in range(9)} == {"test"}


@pytest.mark.parametrize("split", SPLITTING)
def test_splits_depend_on_the_seed(split):
    stories = alone(40)
    assert assign(stories, seed=1, split=split) == assign(stories, seed=1, split=split)
    assert len({tuple(assign(stories, seed=seed, split=split).values()) for seed in range(8)}) > 4


@pytest.mark.parametrize("split", SPLITTING)
def test_shares_are_exact_without_groups(split):
    counts = count_splits(assign(alone(100), validation=0.2, test=0.1, split=split).values())
    assert counts == {"train": 70, "validation": 20, "test": 10}


def test_a_new_story_moves_few_of_the_others():
    before = assign(alone(100))
    after = assign(alone(101))
    assert sum(before[story] != after[story] for story in before) <= 2


@pytest.mark.parametrize("split", SPLITTING)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_fewest_groups_go_to_train_then_test_then_validation(count, split):
    stories = alone(count)
    assigned = list(assign(stories, split=split).values())
    random.Random(0).shuffle(assigned)
    assert set(assigned) == set(["train", "test", "validation"][:count])


def test_count_splits_has_every_split():
    assert count_splits(["test", "train", "test"]) == {"train": 1, "validation": 0, "test": 2}


@given(stories=grouped_stories(official_splits), validation=shares, test=shares, seed=st.integers(0, 5))
def test_official_equals_auto_with_source_splits(stories, validation, test, seed):
    assert assign(stories, validation, test, seed, "official") == assign(stories, validation, test, seed, "auto")


def test_official_is_refused_without_source_splits():
    with pytest.raises(VsrError, match=r"^--split official: .*; .*--split group$"):
        assign(alone(9), split="official")


@pytest.mark.parametrize("split", ["group", "block"])
@given(stories=grouped_stories(st.one_of(st.none(), official_splits)), seed=st.integers(0, 5))
def test_group_and_block_ignore_source_splits(split, stories, seed):
    unsaid = {story: Membership(member.group, None) for story, member in stories.items()}
    assert assign(stories, seed=seed, split=split) == assign(unsaid, seed=seed, split=split)


@given(stories=grouped_stories(), validation=shares, test=shares, seed=st.integers(0, 5))
def test_group_equals_auto_without_source_splits(stories, validation, test, seed):
    assert assign(stories, validation, test, seed, "group") == assign(stories, validation, test, seed)


@st.composite
def numbered_stories(draw):
    """Stories of which a number is the id, as films and scenes have them; groups may lie across each other."""
    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=30))
    groups = [f"film {film}" for film, size in enumerate(sizes) for _ in range(size)]
    if draw(st.booleans()):
        groups = draw(st.permutations(groups))
    return {str(number): Membership(group, None) for number, group in enumerate(groups)}


@given(stories=numbered_stories(), validation=shares, test=shares, seed=st.integers(0, 5))
def test_each_held_out_block_is_contiguous(stories, validation, test, seed):
    found = [split for split, _ in runs(stories, assign(stories, validation, test, seed, "block"))]
    assert found.count("test") <= 1
    assert found.count("validation") <= 1
    assert 1 <= found.count("train") <= 2


def test_blocks_follow_natural_order():
    stories = alone(200)
    for seed in range(5):
        held = [story for story, split in assign(stories, seed=seed, split="block").items() if split == "test"]
        numbers = sorted(int(story.removeprefix("story ")) for story in held)
        assert numbers == list(range(numbers[0], numbers[0] + 20))


def test_block_positions_depend_on_the_seed():
    stories = alone(100)
    starts = [
        min(int(story.removeprefix("story ")) for story, split in assigned.items() if split == "test")
        for assigned in (assign(stories, seed=seed, split="block") for seed in range(30))
    ]
    assert min(starts) < 25
    assert max(starts) > 60
    assert len(set(starts)) > 15


@given(sizes=st.lists(st.integers(1, 4), min_size=60, max_size=90), seed=st.integers(0, 9))
def test_blocks_of_small_groups_have_about_the_requested_shares(sizes, seed):
    groups = [f"film {film}" for film, size in enumerate(sizes) for _ in range(size)]
    stories = {str(number): Membership(group, None) for number, group in enumerate(groups)}
    counts = count_splits(assign(stories, validation=0.1, test=0.2, seed=seed, split="block").values())
    assert counts["test"] / len(stories) == pytest.approx(0.2, abs=0.02)
    assert counts["validation"] / len(stories) == pytest.approx(0.1, abs=0.02)


def test_block_stops_before_a_much_larger_group():
    sizes = [10, 10, 300, 10, 10]
    groups = [f"film {film}" for film, size in enumerate(sizes) for _ in range(size)]
    stories = {str(number): Membership(group, None) for number, group in enumerate(groups)}
    for seed in range(9):
        found = runs(stories, assign(stories, validation=0.03, test=0.03, seed=seed, split="block"))
        assert ("test", 1) in found
        assert ("validation", 1) in found
        assert count_splits(assign(stories, 0.03, 0.03, seed, "block").values())["train"] == 320


def test_block_changes_little_with_a_new_story():
    before, after = (assign(alone(count), split="block") for count in (100, 101))
    assert sum(before[story] != after[story] for story in before) <= 4


@pytest.mark.parametrize(
    ("name", "later"), [("2", "10"), ("a2b", "a10b"), ("a", "B"), ("9" * 5000, "1" + "0" * 5000), ("x1", "x01")]
)
def test_names_have_natural_order(name, later):
    assert (natural(name) < natural(later)) == (name != "x1")
    assert natural(name) != natural(later)


@given(st.lists(st.text(max_size=8), max_size=6), st.randoms())
def test_natural_order_of_any_names_is_total(names, random):
    shuffled = random.sample(names, len(names))
    assert sorted(names, key=natural) == sorted(shuffled, key=natural)


@pytest.fixture
def listed(tmp_path):
    """Write a split file of these lines."""

    def write(*lines):
        path = tmp_path / "splits.csv"
        path.write_text("\n".join(["story,split", *lines]), encoding="utf-8")
        return path

    return write


def test_split_file_assigns_listed_stories_only(listed):
    path = listed("story 1,test", "story 0,train", "story 3,validation", "never seen,test")
    assert assign(alone(5, "train"), split="file", split_file=path) == {
        "story 0": "train",
        "story 1": "test",
        "story 2": None,
        "story 3": "validation",
        "story 4": None,
    }


@pytest.mark.parametrize(
    ("lines", "part"),
    [
        (["a,train", "b,test"], "divides the group 'g' ('a' is in train, 'b' in test)"),
        (["a,train", "b,train", "c,tset"], "did you mean test?"),
        (["x,train", "y,test"], "lists none of the 3 stories, e.g. 'a'"),
        ([], "lists none of the 3 stories"),
    ],
)
def test_split_file_without_matching_story_is_one_line(listed, lines, part):
    stories = {"b": Membership("g", None), "a": Membership("g", None), "c": Membership("c", None)}
    path = listed(*lines)
    with pytest.raises(VsrError) as error:
        assign(stories, split="file", split_file=path)
    (line,) = str(error.value).splitlines()
    assert line.startswith(str(path))
    assert part in line
    assert "; " in line


def test_partly_listed_group_is_not_divided(listed):
    stories = {"a": Membership("g", None), "b": Membership("g", None)}
    path = listed("a,test")
    assert assign(stories, split="file", split_file=path) == {"a": "test", "b": None}


@pytest.mark.parametrize("split", SPLITS)
def test_one_named_split_takes_all_stories(split):
    assert set(assign(alone(9, "test"), split=split).values()) == {split}


def test_no_stories_give_no_splits():
    assert [assign({}, split=split) for split in [*SPLITTING, *SPLITS]] == [{}] * 6


def test_stories_without_a_split_are_not_counted():
    assert count_splits(["test", None, "test"]) == {"train": 0, "validation": 0, "test": 2}


def resolved(*assignments):
    chosen = {"dataset": {"name": "storyworld"}}
    layers = [preset_layer("tiny"), Layer("test", chosen), *parse_set(assignments)]
    return resolve_prepare(registry(), preset="tiny", layers=layers).data


@pytest.mark.parametrize(
    ("assignments", "part"),
    [
        (["data.split=file"], "--set data.split_file=FILE"),
        (["data.split_file=x.csv"], "read by --split file only"),
        (["data.split=block", "data.split_file=x.csv"], "read by --split file only"),
        (["data.split=blocks"], "'block'"),
        (["data.split=file", "data.split_file=~nobody-of-this-name/x.csv"], "write the whole path"),
    ],
)
def test_split_method_needs_its_file(assignments, part):
    with pytest.raises(VsrError) as error:
        resolved(*assignments)
    (line,) = str(error.value).splitlines()
    assert part in line


def test_split_file_path_may_start_with_tilde(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    data = resolved("data.split=file", "data.split_file=~/splits.csv", "data.group_csv=~/groups.csv")
    assert (data.split_file, data.group_csv) == (tmp_path / "splits.csv", tmp_path / "groups.csv")
    assert data.model_dump(mode="json")["split_file"] == str(tmp_path / "splits.csv")
