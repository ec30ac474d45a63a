import numpy as np
import pytest

from vsr_cli.api import Options, Sample
from vsr_plugins.metrics import texture


def sample(predicted, reference):
    return Sample(
        story="s",
        context_texts=(),
        predicted_text="",
        reference_text="",
        predicted_image=predicted,
        reference_image=reference,
    )


def score(metric, *samples):
    return metric.combine(metric.measure(samples))


def noise(seed):
    return np.random.default_rng(seed).integers(0, 256, (20, 24, 3), dtype=np.uint8)


def halved(image):
    return (image // 2).astype(np.uint8)


def flat(value):
    return np.full((20, 24, 3), value, np.uint8)


def test_sharpness_is_one_for_the_target_and_none_for_a_flat_picture():
    sharpness = texture.build_sharpness(Options())
    assert score(sharpness, sample(noise(1), noise(1)))["sharpness"] == pytest.approx(1)
    assert score(sharpness, sample(flat(90), noise(1)))["sharpness"] == 0
    assert score(sharpness, sample(halved(noise(1)), noise(1)))["sharpness"] == pytest.approx(0.5, abs=0.01)


def test_sharpness_of_a_stripe_by_hand():
    striped = flat(0)
    striped[:, 12:] = 51
    assert texture._edges(striped) == pytest.approx(0.2**2 / 23)


def test_spread_is_none_where_all_predictions_are_one_picture():
    spread = texture.build_spread(Options())
    assert score(spread, sample(noise(9), noise(1)), sample(noise(9), noise(2)))["diversity-image"] == 0
    assert score(spread, sample(noise(1), noise(1)), sample(noise(2), noise(2)))["diversity-image"] == pytest.approx(1)


def test_spread_by_hand():
    predicted, true = (flat(0), flat(51)), (flat(0), flat(102))
    samples = [sample(*pair) for pair in zip(predicted, true, strict=True)]
    assert score(texture.build_spread(Options()), *samples)["diversity-image"] == pytest.approx(0.5)


def test_a_target_without_an_edge_gives_a_finite_number():
    for name, build in (("sharpness", texture.build_sharpness), ("diversity-image", texture.build_spread)):
        value = score(build(Options()), sample(noise(1), flat(3)))[name]
        assert np.isfinite(value)
