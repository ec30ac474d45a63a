"""Intervals over stories: what is drawn, and that they hold the truth as often as they say."""

import numpy as np
import pytest

from vsr_cli.evaluation.bootstrap import LEAST_STORIES, interval, resampled_scores, resampled_windows, score_series


class Mean:
    """The mean of one number a window."""

    scale, signature = "any", "none"

    def __init__(self, better="higher"):
        self.better = better

    def combine(self, statistics):
        return {"mean": float(statistics.mean())}


def drawn_stories(rng, count=30):
    """Stories of one to five windows, whose windows are alike: the mean over windows is 0 in the long run."""
    sizes = rng.integers(1, 6, count)
    stories = np.repeat(np.arange(count), sizes)
    values = np.repeat(rng.normal(size=count), sizes) + rng.normal(scale=0.5, size=len(stories))
    return [f"s{story}" for story in stories], values


def scored(stories, model, floor, *, better="higher", resamples=200):
    statistics = {"mean": {"model": model[:, None], "floor": floor[:, None], "ceiling": model[:, None]}}
    metric = Mean(better)
    resampled = resampled_scores({"mean": metric}, statistics, stories, resamples=resamples)
    return score_series("mean", metric, statistics["mean"], resampled.get("mean"))


def test_a_resample_is_of_whole_stories_as_many_as_there_are():
    stories = ["b", "a", "b", "c", "b", "c"]
    windows_of = {name: {row for row, story in enumerate(stories) if story == name} for name in "abc"}
    seen = set()
    for rows in resampled_windows(stories, resamples=50):
        counts = [sum(1 for row in rows if row == first) for first in (1, 0, 3)]
        assert sum(counts) == 3
        for name, count in zip("abc", counts, strict=True):
            assert [sum(1 for row in rows if row == each) for each in windows_of[name]] == [count] * len(
                windows_of[name]
            )
        seen.add(tuple(counts))
    assert len(seen) > 5


def test_equal_seeds_draw_equal_stories():
    first, second = (list(resampled_windows(["a", "b", "c"] * 5, resamples=5, seed=3)) for _ in range(2))
    assert all((one == other).all() for one, other in zip(first, second, strict=True))


def test_the_interval_holds_the_truth_as_often_as_it_says_though_windows_of_a_story_are_alike():
    rng = np.random.default_rng(1)
    held = []
    for _ in range(150):
        stories, values = drawn_stories(rng)
        low, high = scored(stories, values, values)["ci95"]
        held.append(low <= 0 <= high)
    # The percentile interval of thirty stories is known to fall a little short of 95 %; of windows it would be 75 %.
    assert 0.90 <= np.mean(held) <= 0.98


def test_a_floor_that_is_as_good_is_seldom_beaten_and_a_worse_one_is():
    rng = np.random.default_rng(2)
    beaten = {0.0: 0, 0.5: 0}
    for _ in range(100):
        stories, floor = drawn_stories(rng)
        for lead in beaten:
            # What makes a story hard is hard for both: the difference is what is resampled.
            model = floor + lead + rng.normal(scale=0.3, size=len(floor))
            beaten[lead] += scored(stories, model, floor, resamples=100)["floors"]["floor"]["beats"]
    assert beaten[0.0] <= 8
    assert beaten[0.5] >= 97


@pytest.mark.parametrize(
    ("better", "model", "floor", "beats"),
    [
        ("higher", 2.0, 1.0, True),
        ("higher", 1.0, 2.0, False),
        ("lower", 1.0, 2.0, True),
        ("lower", 2.0, 1.0, False),
        ("one", 0.9, 0.2, True),
        ("one", 1.1, 2.0, True),
        ("one", 3.0, 0.5, False),
        ("higher", 1.0, 1.0, False),
    ],
)
def test_what_is_better_depends_on_the_metric(better, model, floor, beats):
    stories = [f"s{number}" for number in range(10)]
    cell = scored(stories, np.full(10, model), np.full(10, floor), better=better)
    assert cell["floors"]["floor"] == {
        "value": floor,
        "difference": model - floor,
        "ci95": [pytest.approx(model - floor)] * 2,
        "beats": beats,
    }


def test_with_too_few_stories_there_is_no_interval_and_nothing_is_beaten():
    stories = [f"s{number}" for number in range(LEAST_STORIES - 1)] * 4
    cell = scored(stories, np.ones(len(stories)), np.zeros(len(stories)))
    assert cell["ci95"] is None
    assert cell["floors"]["floor"] == {"value": 0, "difference": 1, "ci95": None, "beats": False}


def test_a_score_that_counts_distinct_things_is_not_resampled():
    metric = Mean()
    metric.resampled = False
    statistics = {"mean": {"model": np.ones((20, 1))}}
    assert resampled_scores({"mean": metric}, statistics, [f"s{number}" for number in range(20)]) == {}


def test_an_interval_is_the_middle():
    assert interval(np.arange(1001.0)) == pytest.approx([25, 975])
