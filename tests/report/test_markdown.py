"""The Markdown of `vsr report`."""

import re

import pytest

from vsr_cli.report.formatting import legend, marks, short
from vsr_cli.report.markdown import chosen_examples, markdown, plain
from vsr_cli.report.provenance import leaks_line
from vsr_cli.runs.results import BETTER, NOT_SIGNIFICANT, WORSE, open_evaluated


@pytest.fixture
def text(run):
    evaluated = open_evaluated(run, "test")
    return markdown(evaluated, chosen_examples(evaluated))


def test_the_table_has_scores_intervals_baselines_and_upper_bound(text):
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert rows[0] == "| metric | model | copy-last | nearest-neighbor | upper bound |"
    assert rows[2] == "| bleu (0-100, higher is better) | **4** [3.5, 4.5] | 3 ▲ | – | 100 |"
    assert rows[3] == "| mse (0-1, lower is better) | **0.04** | 0.05 | – | – |"


def test_the_best_is_bold_and_a_legend_explains_only_what_the_table_contains(run):
    evaluated = open_evaluated(run, "test")
    text = markdown(evaluated, {})
    assert "In brackets: 95 % intervals over stories. Beside a baseline: the model is ▲ significantly better" in text
    assert "Upper bound: the reference scored against itself." in text
    for cell in evaluated.available.values():
        cell.update(ci95=None, upper_bound=None)
        for baseline in cell["baselines"].values():
            baseline.update(verdict=None)
    evaluated.available["bleu"]["baselines"]["copy-last"]["value"] = 13.86
    text = markdown(evaluated, {})
    assert "| bleu (0-100, higher is better) | 4 | **13.9** | – |" in text
    assert not re.search("brackets|Beside a baseline|[Uu]pper bound", text)


def test_missing_metrics_leaks_and_teacher_forced_losses_are_listed(text):
    assert "- meteor is unavailable: meteor: WordNet was not found; install it" in text
    assert "- left out of the scores: 2 windows (2 because a short story is padded)" in text
    assert "- predicted texts that repeat a text of their context: 25.0% (references: 0.0%)" in text
    assert "- 4-grams of predicted texts that stand in their context: 37.5% (references: 1.2%)" in text
    assert "teacher-forced, not comparable with the scores above: loss 2.5, text loss 1.5, perplexity 4.48" in text


def test_story_texts_are_escaped(text):
    assert not re.search(r"(?<!\\)<(?:script|img)", text)
    assert plain("a | b\n# c `d` <e>") == r"a \| b \# c \`d\` \<e\>"


def test_the_examples_are_the_best_the_median_and_the_worst(run):
    examples = chosen_examples(open_evaluated(run, "test"))
    best, median, worst = (example["scores"]["bleu"] for example in examples.values())
    assert list(examples) == ["best by bleu", "median by bleu", "worst by bleu"]
    scores = [line["scores"]["bleu"] for line in open_evaluated(run, "test").predictions()]
    assert (best, worst) == (max(scores), min(scores))
    assert worst <= median <= best


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii", "no-such"])
def test_each_verdict_has_its_mark_in_every_encoding_and_in_the_legend(encoding):
    found = marks(encoding)
    written = [found[each] for each in (BETTER, WORSE, NOT_SIGNIFICANT)]
    assert len({*written, ""}) == 4
    assert found[None] == ""
    said = legend("the baseline", encoding=encoding)
    for each in (BETTER, WORSE, NOT_SIGNIFICANT):
        assert f"{found[each]} {each}" in said
    if encoding != "no-such":
        "".join(written).encode(encoding)


def test_the_caution_stands_above_the_table(text):
    assert "**Caution: only 12 stories were scored; take more.**" in text


def test_scores_have_three_significant_digits():
    assert [short(value) for value in (0, 12.345, 0.05678, 999.9, 12345, 2e-6, None)] == [
        "0", "12.3", "0.0568", "1,000", "12,345", "2.0e-06", "–",
    ]  # fmt: skip


def test_leaks_are_counted_by_window_and_by_reason():
    leaks = {"padded": 0, "story_in_training": 2, "near_duplicate_across_splits": 2}
    seen, alike = "2 because the story was seen in training", "2 because the target's image is a near-duplicate of one"
    assert leaks_line(leaks | {"left_out": 2}) == (
        f"2 windows ({seen}, {alike} seen in training; a window may have several reasons)"
    )
    assert leaks_line(leaks | {"left_out": 4}).endswith("seen in training)")
    assert leaks_line({"padded": 1, "left_out": 1}) == "1 window (1 because a short story is padded)"
    assert leaks_line({"padded": 0, "left_out": 0}) == ""
