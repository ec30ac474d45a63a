"""Names and texts from files: blank, normalized and printable."""

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
def test_visible_texts_are_not_blank(text: str) -> None:
    assert not is_blank(text)
    assert tidy_text(f" {text}\r\n") == text


def test_invalid_utf8_names_are_escaped_and_distinct() -> None:
    names = [os.fsdecode(name) for name in (b"caf\xe9", b"caf\xe8", "café".encode())]
    assert list(map(shown, names)) == ["caf\\xe9", "caf\\xe8", "café"]
    assert shown("\ud83d") == "\\ud83d"


@given(st.text(st.characters(exclude_categories=())))
def test_shown_name_is_encodable_and_idempotent(name: str) -> None:
    assert shown(shown(name)) == shown(name)
    shown(name).encode()


def test_names_are_normalized_to_nfc() -> None:
    assert nfc("e\u0301") == nfc("\u00e9")
    assert natural("e\u03012")[0] == natural("\u00e92")[0] < natural("e\u030110")[0]
