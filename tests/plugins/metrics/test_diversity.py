import numpy as np
import pytest

from vsr_cli.api import Options, Sample
from vsr_plugins.metrics import diversity

BLANK = np.zeros((1, 1, 3), dtype=np.uint8)


def sample(predicted, *context):
    return Sample(
        story="s",
        context_texts=context,
        predicted_text=predicted,
        reference_text="",
        predicted_image=BLANK,
        reference_image=BLANK,
    )


def score(metric, *samples):
    return metric.combine(metric.measure(samples))


def test_distinct_words_are_counted_over_all_predictions():
    found = score(diversity.build_distinct_1(Options()), sample("the cat sat"), sample("The dog sat."))
    assert found["distinct-1"] == pytest.approx(4 / 6)
    found = score(diversity.build_distinct_2(Options()), sample("the cat sat"), sample("The cat ran."))
    assert found["distinct-2"] == pytest.approx(3 / 4)


def test_distinct_words_of_a_whole_book_are_told_apart():
    texts = [sample(" ".join(f"word{start + number}" for number in range(200))) for start in range(0, 20_000, 100)]
    assert score(diversity.build_distinct_1(Options()), *texts)["distinct-1"] == 20_100 / 40_000


def test_predictions_without_a_word_are_not_varied():
    assert score(diversity.build_distinct_1(Options()), sample(""), sample("?!")) == {"distinct-1": 0.0}


def test_repetition_is_the_share_of_runs_that_were_there_before():
    found = score(diversity.build_rep_4(Options()), sample("a b c d a b c d"), sample("a b c"))
    assert found["rep-4"] == pytest.approx((1 / 5 + 0) / 2)
    assert found["rep-4-unigrams"] == pytest.approx((4 / 8 + 0) / 2)
    assert found["rep-4-bigrams"] == pytest.approx((3 / 7 + 0) / 2)


def test_copying_is_the_share_of_runs_that_stand_in_one_text_of_the_context():
    context = ("Mara walks to the", "old bridge by night")
    found = score(diversity.build_context_overlap(Options()), sample("mara walks to the old bridge", *context))
    assert found["context-overlap-4"] == pytest.approx(1 / 3)
    assert found["context-overlap-4-unigrams"] == 1
