import numpy as np
import pytest

from vsr_cli.api import Options
from vsr_plugins.metrics import texture

from .samples import image_sample, scores


def noise(seed):
    return np.random.default_rng(seed).integers(0, 256, (20, 24, 3), dtype=np.uint8)


def halved(image):
    return (image // 2).astype(np.uint8)


def flat(value):
    return np.full((20, 24, 3), value, np.uint8)


def test_sharpness_is_1_for_the_target_and_0_for_a_flat_image():
    sharpness = texture.build_sharpness(Options())
    assert scores(sharpness, image_sample(noise(1), noise(1)))["sharpness"] == pytest.approx(1)
    assert scores(sharpness, image_sample(flat(90), noise(1)))["sharpness"] == 0
    assert scores(sharpness, image_sample(halved(noise(1)), noise(1)))["sharpness"] == pytest.approx(0.5, abs=0.01)


def test_sharpness_of_a_stripe_equals_hand_computed_value():
    striped = flat(0)
    striped[:, 12:] = 51
    assert texture._edges(striped) == pytest.approx(0.2**2 / 23)


def test_diversity_is_0_for_identical_predictions():
    spread = texture.build_spread(Options())
    assert scores(spread, image_sample(noise(9), noise(1)), image_sample(noise(9), noise(2)))["diversity-image"] == 0
    assert scores(spread, image_sample(noise(1), noise(1)), image_sample(noise(2), noise(2)))[
        "diversity-image"
    ] == pytest.approx(1)


def test_diversity_equals_hand_computed_value():
    predicted, true = (flat(0), flat(51)), (flat(0), flat(102))
    samples = [image_sample(*pair) for pair in zip(predicted, true, strict=True)]
    assert scores(texture.build_spread(Options()), *samples)["diversity-image"] == pytest.approx(0.5)


def test_flat_target_has_a_finite_score():
    for name, build in (("sharpness", texture.build_sharpness), ("diversity-image", texture.build_spread)):
        value = scores(build(Options()), image_sample(noise(1), flat(3)))[name]
        assert np.isfinite(value)


def test_flat_images_are_as_sharp_and_as_varied_as_flat_targets():
    for name, build in (("sharpness", texture.build_sharpness), ("diversity-image", texture.build_spread)):
        assert scores(build(Options()), image_sample(flat(3), flat(3)))[name] == 1
