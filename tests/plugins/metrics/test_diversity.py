import pytest

from vsr_cli.api import Options
from vsr_plugins.metrics import diversity

from .samples import scores, text_sample


def test_distinct_words_are_counted_over_all_predictions():
    found = scores(diversity.build_distinct_1(Options()), text_sample("the cat sat"), text_sample("The dog sat."))
    assert found["distinct-1"] == pytest.approx(4 / 6)
    found = scores(diversity.build_distinct_2(Options()), text_sample("the cat sat"), text_sample("The cat ran."))
    assert found["distinct-2"] == pytest.approx(3 / 4)


def test_distinct_words_of_a_long_text_are_counted():
    texts = [text_sample(" ".join(f"word{start + number}" for number in range(200))) for start in range(0, 20_000, 100)]
    assert scores(diversity.build_distinct_1(Options()), *texts)["distinct-1"] == 20_100 / 40_000


def test_predictions_without_words_have_distinct_0():
    assert scores(diversity.build_distinct_1(Options()), text_sample(""), text_sample("?!")) == {"distinct-1": 0.0}


def test_rep_4_is_the_share_of_repeated_ngrams():
    found = scores(diversity.build_rep_4(Options()), text_sample("a b c d a b c d"), text_sample("a b c"))
    assert found["rep-4"] == pytest.approx((1 / 5 + 0) / 2)
    assert found["rep-4-unigrams"] == pytest.approx((4 / 8 + 0) / 2)
    assert found["rep-4-bigrams"] == pytest.approx((3 / 7 + 0) / 2)


def test_context_overlap_is_the_share_of_ngrams_in_a_context_text():
    context = ("Mara walks to the", "old bridge by night")
    found = scores(
        diversity.build_context_overlap(Options()), text_sample("mara walks to the old bridge", context=context)
    )
    assert found["context-overlap-4"] == pytest.approx(1 / 3)
    assert found["context-overlap-4-unigrams"] == 1
