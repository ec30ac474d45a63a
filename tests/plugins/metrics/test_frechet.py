"""The Fréchet distance, against the eigenvalues of the product of covariances and closed forms."""

import numpy as np
import pytest

from vsr_cli.api import Comparison, Options
from vsr_plugins.metrics import frechet

METRIC = frechet.build(Options())


def normal(count, width, *, seed, scale=1.0, shift=0.0):
    return (np.random.default_rng(seed).normal(size=(count, width)) * scale + shift).astype(np.float32)


def score(predicted, reference):
    count = len(predicted)
    found = Comparison(
        predicted=predicted,
        reference=reference,
        context=reference[:, None],
        candidates=reference,
        answer=np.arange(count),
        rivals=np.ones((count, count), bool),
        later=np.eye(count, dtype=bool),
    )
    return METRIC.combine(METRIC.measure_in_space(found))


@pytest.mark.parametrize(("count", "width"), [(50, 8), (6, 8)])
def test_it_is_the_formula_of_the_paper_also_with_fewer_windows_than_dimensions(count, width):
    one, other = normal(count, width, seed=0), normal(count, width, seed=1, scale=2, shift=0.5)
    s, t = np.cov(one.T.astype(float)), np.cov(other.T.astype(float))
    means = np.square(one.mean(axis=0) - other.mean(axis=0)).sum()
    roots = np.sqrt(np.linalg.eigvals(s @ t).real.clip(min=0))
    expected = means + np.trace(s + t) - 2 * roots.sum()
    found = score(one, other)
    assert found["frechet-visual"] == pytest.approx(expected, rel=1e-3)
    assert found["frechet-visual-means"] == pytest.approx(means, rel=1e-5)


def test_it_is_0_for_the_targets_in_any_order_and_counts_a_shift_by_its_square():
    true = normal(40, 8, seed=0)
    assert score(true[::-1].copy(), true)["frechet-visual"] == pytest.approx(0, abs=1e-5)
    assert score(true + 0.5, true)["frechet-visual"] == pytest.approx(8 * 0.25, rel=1e-4)


def test_one_image_for_all_windows_is_as_far_as_the_targets_vary():
    true = normal(40, 8, seed=0)
    found = score(np.repeat(true.mean(axis=0)[None], 40, axis=0), true)
    assert found["frechet-visual-covariances"] == pytest.approx(true.var(axis=0, ddof=1).sum(), rel=1e-4)
    assert found["frechet-visual-means"] == pytest.approx(0, abs=1e-6)


def test_wide_vectors_are_projected_without_changing_distances_on_average():
    true, shift = normal(200, 1000, seed=0), normal(1, 1000, seed=1)
    found = score(true + shift, true)
    assert found["frechet-visual"] == pytest.approx(float(np.square(shift).sum()), rel=0.4)
    assert found["frechet-visual-covariances"] == pytest.approx(0, abs=1e-3)


def test_too_few_windows_are_warned_of():
    assert METRIC.caution(65) is None
    assert "64 windows are too few for covariances of 64 dimensions" in METRIC.caution(64)
