import pytest

from vsr_cli.api import is_blank

INVISIBLE = {
    "nothing": "",
    "spaces": " \t\r\n\x0b\x0c\x1c\x85\xa0\u1680\u2003\u2028\u2029\u202f\u205f\u3000",
    "controls": "\x00\x07\x1b\x7f\x9f",
    "zero width": "\u200b\u200c\u200d\u2060\ufeff\u00ad",
    "directions": "\u200e\u200f\u061c\u202a\u202e\u2066\u2069",
    "Hangul fillers": "\u115f\u1160\u3164\uffa0",
    "variation selectors": "\ufe0f\ufe0e\u180b\U000e0100",
    "empty braille": "\u2800",
    "joiner and inherent vowels": "\u034f\u17b4\u17b5",
    "tags": "\U000e0001\U000e0041\U000e007f",
    "musical and shorthand formats": "\U0001d173\U0001bca0",
}


@pytest.mark.parametrize("name", INVISIBLE)
def test_a_text_of_invisible_characters_is_blank(name: str) -> None:
    assert is_blank(INVISIBLE[name])
    assert is_blank(INVISIBLE[name] * 3 + " ")
    assert not is_blank(INVISIBLE[name] + "x")
    assert not is_blank(INVISIBLE[name] + "雨")


@pytest.mark.parametrize("text", list("x.!~0字あก한ا।🦊©\u0600\u06dd\u0301\ufffd\ue000"))
def test_one_visible_character_is_a_text(text: str) -> None:
    assert not is_blank(text)
    assert not is_blank(f"\u200b{text}\u3000")
