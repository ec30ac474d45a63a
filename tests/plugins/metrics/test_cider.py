import math

import pytest

from vsr_cli.api import Options
from vsr_plugins.metrics.cider import build

from .samples import text_sample


def score(*pairs, references=None):
    metric = build(Options())
    metric.read_references([reference for _, reference in pairs] if references is None else references)
    return metric.measure([text_sample(*pair) for pair in pairs])[:, 0].tolist()


def test_cider_equals_hand_computed_score():
    """Of four references, "cat" stands in two and "sat" in one, so they weigh ln 2 and ln 4 = 2 ln 2.

    "cat ran" against "cat sat": of single words, cos = ln2 * ln2 / (|(ln2, ln4)| * |(ln2, ln4)|) = 1 / 5, with "ran",
    in no reference, weighing as much as a word of one. No pair is common. Two words on each side: no penalty.
    """
    references = ["cat sat", "cat slept", "dog", "bird"]
    assert score(("cat ran", "cat sat"), references=references) == [pytest.approx(10 * (1 / 5) / 4)]


def test_length_penalty_equals_hand_computed_score():
    """Three words more on one side: exp(-9 / 72). "cat" repeated thrice counts as often as the reference has it.

    Vectors: "cat" 4 ln 2 and 1 ln 2: min(4, 1) * 1 / (4 * 1) = 1/4 for single words.
    """
    references = ["cat", "dog"]
    assert score(("cat cat cat cat", "cat"), references=references) == [pytest.approx(10 * math.exp(-1 / 8) / 16)]


def test_identical_text_scores_ten():
    pairs = [("the cat sat down", "the cat sat down"), ("a dog ran off", "a dog ran off")]
    assert score(*pairs) == [pytest.approx(10), pytest.approx(10)]


def test_words_of_every_reference_weigh_nothing():
    assert score(("the", "the a b"), ("x", "the c d")) == [0, 0]


def test_empty_texts_score_nothing():
    assert score(("", "a b"), ("a", "")) == [0, 0]
