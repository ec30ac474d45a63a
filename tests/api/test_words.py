import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.tokenize import wordpunct_tokenize

from vsr_cli.api import is_blank, split_words, split_words_and_punctuation

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
def test_text_of_invisible_characters_is_blank(name: str) -> None:
    assert is_blank(INVISIBLE[name])
    assert is_blank(INVISIBLE[name] * 3 + " ")
    assert not is_blank(INVISIBLE[name] + "x")
    assert not is_blank(INVISIBLE[name] + "雨")


@pytest.mark.parametrize("text", list("x.!~0字あก한ا।🦊©\u0600\u06dd\u0301\ufffd\ue000"))
def test_one_visible_character_is_not_blank(text: str) -> None:
    assert not is_blank(text)
    assert not is_blank(f"\u200b{text}\u3000")


SENTENCES = {
    "Chinese": ("我们在公园里看见一只小狗。", "我 们 在 公 园 里 看 见 一 只 小 狗"),
    "Japanese": ("私は「コーヒー」を飲んだ。人々", "私 は コ ー ヒ ー を 飲 ん だ 人 々"),
    "Korean": ("여우가 언덕을 달렸다.", "여우가 언덕을 달렸다"),
    "Korean in letters": (unicodedata.normalize("NFD", "여우가 달렸다."), "여우가 달렸다"),
    "Thai": ("น้ำตกสวย ๒๕๖๐", "น้ำ ต ก ส ว ย ๒๕๖๐"),
    "Khmer": ("ភាសា\u200bខ្មែរ។", "ភា សា ខ្មែ រ"),
    "Burmese": ("မြန်မာ။", "မြ န် မာ"),
    "Lao": ("ນ້ຳ ລາວ", "ນ້ຳ ລ າ ວ"),
    "Hindi": ("वह बारिश नमस्ते हँसा। लोमड़ी", "वह बारिश नमस्ते हँसा लोमड़ी"),
    "Arabic": ("ركض الثعلبُ، فوق؟", "ركض الثعلبُ فوق"),
    "Persian": ("می\u200cخواهم بروم", "میخواهم بروم"),
    "Hebrew": ("שָׁלוֹם עולם, צה״ל", "שָׁלוֹם עולם צה״ל"),
    "Amharic": ("ቀበሮው ሮጠ። ሰላም፡ለዓለም", "ቀበሮው ሮጠ ሰላም ለዓለም"),
    "Tibetan": ("བོད་ཡིག", "བོད ཡིག"),
    "French": ("L'e\u0301te\u0301 d’Élan", "l'été d’élan"),
    "Catalan": ("col·lecció", "col·lecció"),
    "emoji": (
        "😀 🦊🌧️ 👨\u200d👩\u200d👧 ❤️! 🇫🇷🇩🇪👍🏽 1️⃣ ©️ 🏴\U000e0067\U000e0062\U000e007f",
        "😀 🦊 🌧️ 👨\u200d👩\u200d👧 ❤️ 🇫🇷 🇩🇪 👍🏽 1️⃣ ©️ 🏴\U000e0067\U000e0062\U000e007f",
    ),
    "symbols": ("→ © ™ ½ € +", "½"),
    "mixed": ("I ate 寿司 with अमर 🍣s in 2024年!", "i ate 寿 司 with अमर 🍣 s in 2024 年"),
}


@pytest.mark.parametrize("script", SENTENCES)
def test_words_of_every_script_are_split(script: str) -> None:
    text, words = SENTENCES[script]
    assert split_words(text) == words.split()


def test_hyphens_join_words_on_request() -> None:
    assert split_words("A well-known fox -- naïve-looking", hyphenated=True) == [
        "a",
        "well-known",
        "fox",
        "naïve-looking",
    ]
    assert split_words("well-known") == ["well", "known"]


LATIN = [chr(code) for code in range(32, 0x180) if unicodedata.category(chr(code)) not in ("Cf", "No")]


@settings(deadline=None)
@given(st.text(alphabet=sorted({*LATIN} - {"·", "İ"}), max_size=40))
def test_latin_tokens_equal_nltk(text: str) -> None:
    assert split_words(text) == re.findall(r"\w+(?:['’]\w+)*", text.lower())
    assert split_words_and_punctuation(text) == wordpunct_tokenize(text.lower())


def test_punctuation_is_separated_in_every_script() -> None:
    assert split_words_and_punctuation("Don't — घर। 寿司🍣!?") == [
        "don",
        "'",
        "t",
        "—",
        "घर",
        "।",
        "寿",
        "司",
        "🍣",
        "!?",
    ]
