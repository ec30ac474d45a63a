import random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vsr_cli.data.splits import SPLITS, Membership, assign_splits, count_splits


def assign(stories, validation=0.1, test=0.1, seed=0):
    return assign_splits(stories, validation=validation, test=test, seed=seed)


def alone(count, official=None):
    return {f"story {index}": Membership(f"story {index}", official) for index in range(count)}


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


@given(
    stories=st.one_of(grouped_stories(), grouped_stories(official_splits)),
    validation=shares,
    test=shares,
    seed=st.integers(0, 5),
)
def test_every_story_and_every_group_is_in_exactly_one_split(stories, validation, test, seed):
    assigned = assign(stories, validation, test, seed)
    assert assigned.keys() == stories.keys()
    assert set(assigned.values()) <= set(SPLITS)
    for group in {member.group for member in stories.values()}:
        assert len({assigned[story] for story, member in stories.items() if member.group == group}) == 1


@given(stories=grouped_stories(st.one_of(st.none(), official_splits)), validation=shares, test=shares, data=st.data())
def test_the_order_of_the_stories_does_not_matter(stories, validation, test, data):
    shuffled = dict(data.draw(st.permutations(list(stories.items()))))
    assert assign(shuffled, validation, test) == assign(stories, validation, test)


@given(stories=grouped_stories(), validation=shares, test=shares, seed=st.integers(0, 20))
def test_train_is_never_empty(stories, validation, test, seed):
    assert groups_in(stories, assign(stories, validation, test, seed), "train")


@given(count=st.integers(3, 20), validation=st.sampled_from([0, 0.01, 0.3]), test=st.sampled_from([0, 0.01, 0.3]))
def test_a_split_is_filled_if_and_only_if_it_is_asked_for(count, validation, test):
    stories = alone(count)
    assigned = assign(stories, validation, test)
    assert bool(groups_in(stories, assigned, "validation")) == (validation > 0)
    assert bool(groups_in(stories, assigned, "test")) == (test > 0)


@given(stories=grouped_stories(official_splits), validation=shares, test=shares, seed=st.integers(0, 5))
def test_official_held_out_stories_stay_and_no_others_join_the_test(stories, validation, test, seed):
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


def test_the_seed_decides():
    stories = alone(40)
    assert assign(stories, seed=1) == assign(stories, seed=1)
    assert assign(stories, seed=1) != assign(stories, seed=2)


def test_the_shares_are_kept_where_each_story_is_its_own_group():
    counts = count_splits(list(assign(alone(100), validation=0.2, test=0.1).values()))
    assert counts == {"train": 70, "validation": 20, "test": 10}


def test_a_new_story_moves_few_of_the_others():
    before = assign(alone(100))
    after = assign(alone(101))
    assert sum(before[story] != after[story] for story in before) <= 2


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_fewest_groups_go_to_train_then_test_then_validation(count):
    stories = alone(count)
    assigned = list(assign(stories).values())
    random.Random(0).shuffle(assigned)
    assert set(assigned) == set(["train", "test", "validation"][:count])


def test_counting_names_every_split():
    assert count_splits(["test", "train", "test"]) == {"train": 1, "validation": 0, "test": 2}
