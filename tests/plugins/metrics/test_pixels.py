import math

import numpy as np
import pytest
from numpy.typing import NDArray

from vsr_cli.api import Metric, Options, Sample
from vsr_plugins.metrics.pixels import build_mse, build_psnr, build_ssim

from .samples import image_sample

BUILDS = {"mse": build_mse, "psnr": build_psnr, "ssim": build_ssim}


# torchmetrics alone takes some ten seconds to import.
NAMES = ["mse", "psnr", pytest.param("ssim", marks=pytest.mark.slow)]


def noise(seed: int, size: int = 24) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


def grey(value: int) -> NDArray[np.uint8]:
    return np.full((24, 24, 3), value, dtype=np.uint8)


def score(metric: Metric, *samples: Sample) -> float:
    return next(iter(metric.combine(metric.measure(samples)).values()))


@pytest.mark.parametrize("name", NAMES)
def test_headline_has_the_metrics_name_and_equal_images_the_best_score(name: str) -> None:
    metric = BUILDS[name](Options())
    image = noise(0)
    assert next(iter(metric.combine(metric.measure([image_sample(image, image)])))) == name
    best = {"mse": 0.0, "psnr": 100.0, "ssim": 1.0}[name]
    assert score(metric, image_sample(image, image)) == pytest.approx(best, abs=1e-6)
    worse = score(metric, image_sample(noise(1), image))
    assert worse > best if metric.better == "lower" else worse < best


def test_black_against_white_is_an_error_of_one() -> None:
    assert score(build_mse(Options()), image_sample(grey(0), grey(255))) == pytest.approx(1)
    assert score(build_psnr(Options()), image_sample(grey(0), grey(255))) == pytest.approx(0)


def test_error_does_not_wrap_around() -> None:
    pair = image_sample(grey(10), grey(61))
    assert score(build_mse(Options()), pair) == pytest.approx(0.04)
    assert score(build_psnr(Options()), pair) == pytest.approx(10 * math.log10(25))


def test_psnr_is_of_the_mean_error() -> None:
    metric = build_psnr(Options())
    pairs = [image_sample(grey(0), grey(51)), image_sample(grey(0), grey(0))]
    assert score(metric, *pairs) == pytest.approx(-10 * math.log10(0.02))


@pytest.mark.slow
def test_ssim_of_flat_images_is_the_luminance_term() -> None:
    """Without variance Wang's formula leaves (2 a b + c1) / (a^2 + b^2 + c1), with c1 = 0.01^2."""
    a, b = 51 / 255, 204 / 255
    expected = (2 * a * b + 1e-4) / (a * a + b * b + 1e-4)
    assert score(build_ssim(Options()), image_sample(grey(51), grey(204))) == pytest.approx(expected, abs=2e-3)


@pytest.mark.slow
def test_ssim_is_negative_for_a_negative_image() -> None:
    image = noise(3)
    assert score(build_ssim(Options()), image_sample(255 - image, image)) < -0.5


@pytest.mark.parametrize("name", NAMES)
def test_no_windows_have_no_score(name: str) -> None:
    metric = BUILDS[name](Options())
    nothing = metric.measure([])
    assert nothing.shape == (0, 1)
    with pytest.raises(AssertionError):
        metric.combine(nothing)
