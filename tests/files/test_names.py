"""Names and texts of other people's files: what is blank, what is the same name, and what can be printed."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsr_cli.api import is_blank, natural, nfc, shown, tidy_text


@pytest.mark.parametrize(
    "text", ["", " \n\t", "\u200b", "\ufeff\ufeff", "\u00ad", "\u2800", "\u3164", "\U000e0041", "\x00\x7f"]
)
def test_blank_texts(text: str) -> None:
    assert is_blank(text)
    assert tidy_text(text) == ""


@pytest.mark.parametrize("text", [".", "a\u200b", "\u0301", "😀", "\ufffd", "हि", "我"])
def test_texts_that_show_something(text: str) -> None:
    assert not is_blank(text)
    assert tidy_text(f" {text}\r\n") == text


def test_bytes_that_are_no_utf8_are_written_out_and_stay_apart() -> None:
    names = [os.fsdecode(name) for name in (b"caf\xe9", b"caf\xe8", "café".encode())]
    assert list(map(shown, names)) == ["caf\\xe9", "caf\\xe8", "café"]
    assert shown("\ud83d") == "\\ud83d"


@given(st.text(st.characters(exclude_categories=())))
def test_what_is_shown_can_be_encoded_and_is_so_already(name: str) -> None:
    assert shown(shown(name)) == shown(name)
    shown(name).encode()


def test_one_name_in_two_spellings_is_one() -> None:
    assert nfc("e\u0301") == nfc("\u00e9")
    assert natural("e\u03012")[0] == natural("\u00e92")[0] < natural("e\u030110")[0]
