"""Means over random seeds: intervals and comparisons with known answers."""

import numpy as np
import pytest

from vsr_cli.evaluation.significance import holm, lead_over, mean_over_seeds, resamples_for


def draw(stories, resamples, random):
    return random.integers(len(stories), size=(resamples, len(stories)))


def test_one_seed_has_no_variance():
    scores = np.arange(5.0)[None]
    assert (mean_over_seeds(scores, np.random.default_rng(0)) == scores[0]).all()


def test_the_interval_of_seeds_alone_is_that_of_student():
    # Stories that are all alike leave the seeds alone: 1, 2 and 3 have the mean 2 and the standard error 1/sqrt(3),
    # and Student's t with two degrees of freedom has its 97.5 % at 4.303.
    scores = np.repeat([[1.0], [2.0], [3.0]], 200_000, axis=1)
    low, high = np.quantile(mean_over_seeds(scores, np.random.default_rng(0)), [0.025, 0.975])
    assert [low, high] == pytest.approx([2 - 4.303 / 3**0.5, 2 + 4.303 / 3**0.5], abs=0.06)


def test_the_p_of_seeds_alone_is_that_of_student_s_test():
    # Of (1, 2, 3) and (3, 4, 5): t = 2.449 with four degrees of freedom, which is p = 0.0705.
    base, ours = (np.repeat(np.array(seeds)[:, None], 200_000, axis=1) for seeds in ([1.0, 2, 3], [3.0, 4, 5]))
    lead = lead_over(base, ours, "higher", np.random.default_rng(0))
    assert lead.p == pytest.approx(0.0705, abs=0.002)
    assert lead.ahead
    assert not lead_over(base, ours, "lower", np.random.default_rng(0)).ahead
    assert np.mean(lead.ci95) == pytest.approx(2, abs=0.05)


def test_a_constant_difference_has_the_smallest_p():
    base = np.random.default_rng(0).normal(size=(3, 1000))
    lead = lead_over(base, base + 100, "higher", np.random.default_rng(0))
    assert lead.p == 2 / 1001
    assert lead_over(base, base, "higher", np.random.default_rng(0)).p > 0.5


def test_with_one_seed_each_only_stories_are_resampled():
    random = np.random.default_rng(0)
    base = random.normal(size=(1, 1000))
    lead = lead_over(base, base + 1, "higher", random)
    assert lead.ci95 == pytest.approx([1, 1])


def test_scores_that_are_not_finite_are_not_compared():
    base, ours = np.ones((2, 100)), np.ones((2, 100))
    ours[0, 3] = np.inf
    assert lead_over(base, ours, "higher", np.random.default_rng(0)) is None


def test_nearer_to_one_is_better_for_ratios():
    base, ours = np.full((1, 100), 0.5), np.full((1, 100), 1.1)
    lead = lead_over(base, ours, "one", np.random.default_rng(0))
    assert lead.ahead
    assert lead.p < 0.05


@pytest.mark.parametrize(("seeds", "scatter"), [(2, 0.3), (2, 1.0), (3, 1.0), (5, 1.0)])
def test_false_positive_rate_of_equal_models_with_few_seeds(seeds, scatter):
    random = np.random.default_rng(1)
    told = 0
    for _ in range(150):
        hard = random.normal(size=40)
        rows = draw(hard, 300, random)

        def seeds_of(hard=hard, rows=rows):
            noise = 0.7 * random.normal(size=(seeds, 40))
            return (hard + scatter * random.normal(size=(seeds, 1)) + noise)[:, rows].mean(axis=2)

        told += lead_over(seeds_of(), seeds_of(), "higher", random).p < 0.05
    assert told <= 13  # of 150 with a chance of 5 %, more come about once in 40 times; the seed here is fixed


def test_a_true_difference_is_significant():
    random = np.random.default_rng(2)
    found = 0
    for _ in range(50):
        hard = random.normal(size=40)
        rows = draw(hard, 300, random)
        base, ours = (
            (hard + lead + 0.1 * random.normal(size=(3, 1)) + 0.7 * random.normal(size=(3, 40)))[:, rows].mean(axis=2)
            for lead in (0.0, 1.0)
        )
        found += lead_over(base, ours, "higher", random).p < 0.05
    assert found >= 48


def test_holm_by_hand():
    # Four comparisons: 0.005 * 4, 0.01 * 3, then 0.03 * 2, and never less than the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


@pytest.mark.parametrize("comparisons", [1, 10, 40, 200])
def test_resamples_suffice_for_the_smallest_adjusted_p(comparisons):
    assert comparisons * 2 / (resamples_for(comparisons) + 1) < 0.05
