"""The Markdown of `vsr report`."""

import re

import pytest

from vsr_cli.report.evaluated import open_evaluated
from vsr_cli.report.markdown import chosen_examples, markdown, plain
from vsr_cli.report.verdicts import BETTER, CANNOT_TELL, WORSE, short, verdict, verdict_on_floor


@pytest.fixture
def text(run):
    evaluated = open_evaluated(run, "test")
    return markdown(evaluated, chosen_examples(evaluated))


def test_the_table_has_scores_intervals_floors_and_ceiling(text):
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert rows[0] == "| metric | model | copy-last | nearest | ceiling |"
    assert rows[2] == "| bleu (0-100, higher is better) | **4** [3.5, 4.5] | 3 ✓ | – | 100 |"
    assert rows[3] == "| mse (0-1, lower is better) | **0.04** | 0.05 ≈ | – | – |"


def test_it_tells_what_is_missing_left_out_and_teacher_forced(text):
    assert "- meteor is unavailable: meteor: WordNet was not found; install it" in text
    assert "- leaks: 2 padded" in text
    assert "teacher-forced, not to be read beside the scores above: loss 2.5, text loss 1.5, perplexity 4.48" in text


def test_what_stories_say_cannot_write_markdown_or_html(text):
    assert not re.search(r"(?<!\\)<(?:script|img)", text)
    assert plain("a | b\n# c `d` <e>") == r"a \| b \# c \`d\` \<e\>"


def test_the_examples_are_the_best_the_median_and_the_worst(run):
    examples = chosen_examples(open_evaluated(run, "test"))
    best, median, worst = (example["scores"]["bleu"] for example in examples.values())
    assert list(examples) == ["best by bleu", "median by bleu", "worst by bleu"]
    scores = [line["scores"]["bleu"] for line in open_evaluated(run, "test").predictions()]
    assert (best, worst) == (max(scores), min(scores))
    assert worst <= median <= best


def test_a_difference_is_said_in_a_word():
    assert [verdict(lead) for lead in ([0.1, 2], [-2, -0.1], [-1, 1], [float("nan")] * 2, None)] == [
        BETTER,
        WORSE,
        CANNOT_TELL,
        CANNOT_TELL,
        CANNOT_TELL,
    ]


@pytest.mark.parametrize(
    ("beats", "interval", "direction", "word"),
    [
        (True, [1, 2], "higher", BETTER),
        (True, [-2, -1], "lower", BETTER),
        (False, [-2, -1], "higher", WORSE),
        (False, [1, 2], "lower", WORSE),
        (False, [-1, 1], "higher", CANNOT_TELL),
        (False, None, "higher", CANNOT_TELL),
        (True, [-0.7, -0.6], "one", BETTER),
        (False, [-0.7, -0.6], "one", WORSE),  # the floor is between 0.8 and 1.1, the model between 0.2 and 0.4
        (False, [-1.7, -1.6], "one", CANNOT_TELL),  # between 1.8 and 2.1
        (False, [-0.05, 0.05], "one", CANNOT_TELL),
    ],
)
def test_a_floor_is_judged_in_the_metric_s_direction(beats, interval, direction, word):
    cell = {"better": direction, "ci95": [0.2, 0.4]}
    assert verdict_on_floor(cell, {"beats": beats, "ci95": interval}) == word


def test_scores_are_written_with_three_digits():
    assert [short(value) for value in (0, 12.345, 0.05678, 999.9, 12345, 2e-6, None)] == [
        "0", "12.3", "0.0568", "1,000", "12,345", "2.0e-06", "–",
    ]  # fmt: skip
