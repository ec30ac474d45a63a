"""The shares of a text that are copied from its context."""

import pytest

from vsr_cli.api import copied_share
from vsr_cli.evaluation.copying import copied, repeated_text

CONTEXT = ["The dog ran to the sea.", "It rained.", "the dog ran to the sea"]


@pytest.mark.parametrize(
    ("text", "index", "share"),
    [
        ("The Dog ran to the sea!", 2, 1.0),
        ("The dog ran to the old sea.", None, 0.5),
        ("It rained.", 1, 0.0),  # too short for a run of four words
        ("", None, 0.0),
    ],
)
def test_a_text_repeats_another_with_the_same_words(text, index, share):
    assert repeated_text(text, CONTEXT) == index
    assert copied_share(text, CONTEXT, n=4) == share


def test_the_shares_are_means_over_windows():
    found = copied(["It rained.", "The dog ran to the old sea."], [CONTEXT, CONTEXT])
    assert found == {"repeats_context": 0.5, "context-overlap-4": 0.25}
