"""Bootstrap intervals over stories: resampling, coverage and verdicts."""

import numpy as np
import pytest

from vsr_cli.api import VsrError
from vsr_cli.config.experiment import resolve_metrics
from vsr_cli.evaluation.scoring import build_metrics, check_available, score_series
from vsr_cli.evaluation.significance import (
    LEAST_STORIES,
    UNLIMITED,
    difference_range,
    interval,
    lead_over,
    mean_over_seeds,
    resampled_scores,
    resampled_windows,
    score_range,
)
from vsr_cli.plugin.discovery import registry
from vsr_cli.runs.results import BETTER, NOT_SIGNIFICANT, WORSE


class Mean:
    """The mean of one number per window."""

    scale, signature = "any", "none"

    def __init__(self, better="higher"):
        self.better = better

    def combine(self, statistics):
        return {"mean": float(statistics.mean())}


def drawn_stories(rng, count=30):
    """Return stories of one to five similar windows, whose expected mean over windows is 0."""
    sizes = rng.integers(1, 6, count)
    stories = np.repeat(np.arange(count), sizes)
    values = np.repeat(rng.normal(size=count), sizes) + rng.normal(scale=0.5, size=len(stories))
    return [f"s{story}" for story in stories], values


def scored(stories, model, baseline, *, better="higher", resamples=200):
    statistics = {"mean": {"model": model[:, None], "baseline": baseline[:, None], "upper_bound": model[:, None]}}
    metric = Mean(better)
    resampled = resampled_scores({"mean": metric}, statistics, stories, resamples=resamples)
    return score_series("mean", metric, statistics["mean"], resampled.get("mean"))


def test_a_resample_has_whole_stories_and_as_many():
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


def test_equal_seeds_resample_equal_stories():
    first, second = (list(resampled_windows(["a", "b", "c"] * 5, resamples=5, seed=3)) for _ in range(2))
    assert all((one == other).all() for one, other in zip(first, second, strict=True))


def test_interval_coverage_with_similar_windows_per_story():
    rng = np.random.default_rng(1)
    held = []
    for _ in range(150):
        stories, values = drawn_stories(rng)
        low, high = scored(stories, values, values)["ci95"]
        held.append(low <= 0 <= high)
    # The percentile interval of thirty stories is known to fall a little short of 95 %; of windows it would be 75 %.
    assert 0.90 <= np.mean(held) <= 0.98


def test_false_positive_rate_against_an_equal_baseline():
    rng = np.random.default_rng(2)
    better_by = {0.0: 0, 0.5: 0}
    for _ in range(100):
        stories, baseline = drawn_stories(rng)
        for lead in better_by:
            # What makes a story hard is hard for both: the difference is what is resampled.
            model = baseline + lead + rng.normal(scale=0.3, size=len(baseline))
            better_by[lead] += (
                scored(stories, model, baseline, resamples=100)["baselines"]["baseline"]["verdict"] == BETTER
            )
    assert better_by[0.0] <= 8
    assert better_by[0.5] >= 97


@pytest.mark.parametrize(
    ("better", "model", "baseline", "verdict"),
    [
        ("higher", 2.0, 1.0, BETTER),
        ("higher", 1.0, 2.0, WORSE),
        ("lower", 1.0, 2.0, BETTER),
        ("lower", 2.0, 1.0, WORSE),
        ("one", 0.9, 0.2, BETTER),
        ("one", 1.1, 2.0, BETTER),
        ("one", 3.0, 0.5, WORSE),
        ("higher", 1.0, 1.0, NOT_SIGNIFICANT),
    ],
)
def test_the_verdict_follows_the_direction_of_the_metric(better, model, baseline, verdict):
    stories = [f"s{number}" for number in range(10)]
    cell = scored(stories, np.full(10, model), np.full(10, baseline), better=better)
    assert cell["baselines"]["baseline"] == {
        "value": baseline,
        "difference": model - baseline,
        "ci95": [pytest.approx(model - baseline)] * 2,
        "verdict": verdict,
    }


def test_with_too_few_stories_there_is_neither_interval_nor_verdict():
    stories = [f"s{number}" for number in range(LEAST_STORIES - 1)] * 4
    cell = scored(stories, np.ones(len(stories)), np.zeros(len(stories)))
    assert cell["ci95"] is None
    assert cell["baselines"]["baseline"] == {"value": 0, "difference": 1, "ci95": None, "verdict": None}


def test_a_metric_with_resampled_false_has_no_interval():
    metric = Mean()
    metric.resampled = False
    statistics = {"mean": {"model": np.ones((20, 1))}}
    assert resampled_scores({"mean": metric}, statistics, [f"s{number}" for number in range(20)]) == {}


def test_an_interval_is_the_middle_95_percent():
    assert interval(np.arange(1001.0)) == pytest.approx([25, 975])


RANGES = {
    "bleu": (0, 100), "rouge": (0, 1), "meteor": (0, 1), "chrf": (0, 100), "cider": (0, 10), "distinct-1": (0, 1),
    "distinct-2": (0, 1), "entity-f1": (0, 1), "rep-4": (0, 1), "context-overlap-4": (0, 1), "mse": (0, 1),
    "psnr": (0, 100), "ssim": (-1, 1), "sharpness": (0, np.inf), "diversity-image": (0, np.inf),
    "cosine-image": (-1, 1),
    "cosine-text": (-1, 1), "mrr-image": (0, 1), "mrr-text": (0, 1), "bertscore": (-1, 1), "clipscore": (0, 2.5),
    "lpips": (0, np.inf),
}  # fmt: skip


def test_every_metric_states_its_range():
    built, unavailable = build_metrics(resolve_metrics(registry(), registry().names("metrics"), []))
    assert {name: score_range(metric) for name, metric in built.items()} == {name: RANGES[name] for name in built}
    assert len(built) + len(unavailable) == len(RANGES)
    assert len(built) > 15


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        ("0-100, higher is better", (0, 100)),
        ("dB, 0-100, higher is better", (0, 100)),
        ("-1 to 1, higher is better", (-1, 1)),
        ("0–2.5", (0, 2.5)),
        ("0..1", (0, 1)),
        ("0 up, lower is better", (0, np.inf)),
        ("any", UNLIMITED),
        ("F1 of 1-2 grams", UNLIMITED),
        ("4-gram overlap", UNLIMITED),
    ],
)
def test_the_range_is_parsed_from_the_scale(scale, expected):
    metric = Mean()
    metric.scale = scale
    assert score_range(metric) == expected


def test_intervals_are_clipped_to_the_range():
    # Three seeds of a METEOR near 0 scatter so that Student's t alone would give scores below 0.
    random = np.random.default_rng(0)
    seeds = np.array([[0.0], [0.2], [0.1]]) + 0.01 * random.random((3, 1000))
    means = mean_over_seeds(seeds, random)
    assert interval(means)[0] < 0
    assert interval(means, (0, 1))[0] == 0
    base = 1 - seeds / 10
    wide = lead_over(base, seeds, "higher", np.random.default_rng(0)).ci95
    assert wide[0] < -1
    assert lead_over(base, seeds, "higher", np.random.default_rng(0), within=(0, 1)).ci95 == [-1, wide[1]]
    assert difference_range((0, 100)) == (-100, 100)
    assert difference_range((0, np.inf)) == UNLIMITED


def test_scores_that_are_not_finite_have_neither_interval_nor_verdict():
    assert interval(np.array([0.0, np.nan, 1.0])) is None
    stories = [f"s{number}" for number in range(10)]
    cell = scored(stories, np.full(10, np.nan), np.ones(10))
    assert (cell["ci95"], cell["baselines"]["baseline"]["ci95"], cell["baselines"]["baseline"]["verdict"]) == (
        None,
        None,
        None,
    )


def test_if_no_metric_can_run_the_error_has_all_reasons():
    check_available({"mean": Mean()}, {"other": "other: lacks a word list; get it"})
    with pytest.raises(VsrError, match=r"^one: lacks a; get it\ntwo: lacks b; get it$"):
        check_available({}, {"one": "one: lacks a; get it", "two": "two: lacks b; get it"})
