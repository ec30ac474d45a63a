import numpy as np
import pytest

from vsr_cli.api import Comparison, Options, SpaceMetric
from vsr_plugins.metrics import embedding

CANDIDATES = np.array([[1, 0], [0, 1], [-1, 0], [3, 4]], dtype=np.float32)


def comparison(predicted, answer, rivals=None, later=None, context=((1, 0), (1, 0))):
    shape = (len(predicted), len(CANDIDATES))
    own = np.eye(len(CANDIDATES), dtype=bool)[answer]
    return Comparison(
        predicted=np.array(predicted, dtype=np.float32),
        reference=CANDIDATES[answer],
        context=np.array([context] * len(predicted), dtype=np.float32),
        candidates=CANDIDATES,
        answer=np.array(answer),
        rivals=np.ones(shape, dtype=bool) if rivals is None else np.array(rivals),
        later=own if later is None else np.array(later),
    )


def score(metric, found):
    return metric.combine(metric.measure_in_space(found))


def test_all_are_metrics_of_a_space():
    similarities = (embedding.build_cosine_image, embedding.build_cosine_text)
    for build in (*similarities, embedding.build_mrr_image, embedding.build_mrr_text):
        assert isinstance(build(Options()), SpaceMetric)


def test_similarity_is_the_mean_cosine_whatever_the_lengths():
    found = comparison([[10, 0], [0, 2]], [0, 3])
    assert score(embedding.build_cosine_image(Options()), found) == {"cosine-image": pytest.approx((1 + 0.8) / 2)}
    assert score(embedding.build_cosine_image(Options()), comparison([[0, 0]], [0])) == {"cosine-image": 0}


def test_context_similarity_is_the_nearness_to_the_context_relative_to_the_targets():
    metric = embedding.build_context_similarity(Options())
    target = score(metric, comparison([[3, 4]], [3]))
    assert list(target.values()) == [1, pytest.approx(0.6), pytest.approx(0.6)]
    copied = score(metric, comparison([[1, 0]], [3]))
    assert copied["context-similarity"] == pytest.approx(1 / 0.6)
    other = score(metric, comparison([[0, 1]], [3]))
    assert other["context-similarity"] == 0
    between = score(metric, comparison([[0, 1]], [0], context=((1, 0), (0, 1))))
    assert between["context-similarity-predicted"] == pytest.approx(0.5**0.5)


def test_mrr_equals_hand_computed_ranks():
    # The first asks for [1, 0]: its own is nearest. The second is at [0, 1], and asks for [1, 0]: third of four.
    found = score(embedding.build_mrr_image(Options()), comparison([[1, 0.1], [0, 1]], [0, 0]))
    assert found["mrr-image"] == pytest.approx((1 + 1 / 3.5) / 2)  # [-1, 0] is as far as [1, 0]: places 3 and 4
    assert found["mrr-image-r1"] == 0.5
    assert found["mrr-image-r5"] == 1
    assert found["mrr-image-chance"] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert found["mrr-image-chance-r1"] == 0.25
    assert found["mrr-image-chance-r5"] == 1


def test_only_rivals_are_ranked():
    rivals = [[True, False, True, False]]
    assert score(embedding.build_mrr_image(Options()), comparison([[0, 1]], [0], rivals))["mrr-image"] == pytest.approx(
        1 / 1.5
    )


def test_later_frames_are_ranked_where_there_are_any():
    later = [[True, True, False, False], [True, False, False, False]]
    found = score(embedding.build_mrr_image(Options()), comparison([[0, 1], [0, 1]], [0, 0], later=later))
    assert found["mrr-image-later"] == 0.5
    assert found["mrr-image-later-chance"] == pytest.approx(0.75)
    alone = score(embedding.build_mrr_image(Options()), comparison([[0, 1]], [0]))
    assert np.isnan(alone["mrr-image-later"])


def test_constant_prediction_scores_chance():
    random = np.random.default_rng(0)
    vectors = random.normal(size=(200, 8)).astype(np.float32)
    found = Comparison(
        predicted=np.repeat(vectors[:1] + 1, 200, axis=0),
        reference=vectors,
        context=vectors[:, None],
        candidates=vectors,
        answer=np.arange(200),
        rivals=np.ones((200, 200), dtype=bool),
        later=np.eye(200, dtype=bool),
    )
    found = score(embedding.build_mrr_image(Options()), found)
    assert found["mrr-image"] == pytest.approx(found["mrr-image-chance"])
    assert found["mrr-image-r1"] == pytest.approx(found["mrr-image-chance-r1"])
