"""The prompt of the image decoder `diffusion`."""

import pytest

from vsr_plugins.image_decoders.diffusion_prompt import make_prompt, recurring_names

from ...plugin_checks.small_pipelines import TOKENS, tokenizer

CONTEXT = [
    "In the morning Mara woke Tom.",
    "She saw the sea. Tom's dog barked at Mara!",
    "Mara laughed.",
    "The sea was calm, and the dog slept.",
]


def prompt(text, *, context=CONTEXT, style=""):
    return make_prompt(text, context, style=style, tokenizer=tokenizer())


def length(text):
    return len(tokenizer()(text)["input_ids"])


def test_names_are_capitalized_words_that_recur_and_do_not_only_begin_sentences():
    assert recurring_names(CONTEXT) == ["Mara", "Tom"]
    assert recurring_names(["The end.", "The sea. The sun.", "“The” moon"]) == []
    assert recurring_names(["Now Zoë runs.", "Zoë rests.", "Now it rains."]) == ["Zoë"]
    assert recurring_names(["in Oslo", "no place"]) == []


@pytest.mark.parametrize(
    ("text", "style", "expected"),
    [
        ("She dives.", "", "She dives., Mara, Tom"),
        ("Mara  dives\n deep.", "oil paint", "Mara dives deep. oil paint, Tom"),
        ("", "", "Mara, Tom"),
        ("", "ink", "ink, Mara, Tom"),
    ],
)
def test_prompt_is_text_style_and_the_other_names(text, style, expected):
    assert prompt(text, style=style) == expected


def test_a_prompt_without_anything_is_empty():
    assert prompt("", context=[]) == ""


def test_names_are_left_out_first_and_then_the_end_of_the_text():
    room = TOKENS - 2  # the tokenizer's own marks
    text = "a " * (room - 4)
    assert prompt(text) == text.strip()  # a name would need five tokens
    assert prompt(text[2:]) == f"{text[2:].strip()}, Mara"
    long = prompt("a " * 200 + "end", style="pale ink")
    assert long == "a " * (room - 7) + "pale ink"
    assert length(long) == TOKENS


def test_a_single_long_word_is_left_to_the_tokenizer():
    assert prompt("a" * 200, context=[]) == "a" * 200
