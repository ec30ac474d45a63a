"""Words and blank texts, in every script.

All word counts of vsr, and all metrics that compare words, use this module. The `regex` library, which supports Unicode
properties, is imported for the first text that is not ASCII.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from regex import Pattern

ASCII_VISIBLE = re.compile(r"[!-~]")
ASCII_WORD = re.compile(r"\w+(?:'\w+)*", re.ASCII)
ASCII_HYPHENATED = re.compile(r"\w+(?:['-]\w+)*", re.ASCII)
ASCII_TOKEN = re.compile(r"\w+|[^\w\s]+", re.ASCII)

JOINERS = "'’·׳״"
"""Marks that are part of a word between its letters: apostrophes, the Catalan middle dot, Hebrew geresh, gershayim."""

SPACELESS_LETTERS = (
    r"[\p{Ideographic}\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Bopomofo}\p{Script=Yi}ーｰ"
    r"\p{Line_Break=Complex_Context}\p{Script=Javanese}\p{Script=Balinese}--[\p{P}\p{S}\p{N}]]"
)
"""Letters of scripts without spaces between words: Chinese, Japanese; Thai, Lao, Khmer, Burmese and their like."""
STARTS_WORD = rf"[[\p{{L}}\p{{N}}_]--{SPACELESS_LETTERS}]"
IN_WORD = rf"[[\p{{L}}\p{{M}}\p{{N}}_\u200d]--{SPACELESS_LETTERS}]"
"""Combining marks belong to the word (vowel signs of Hindi, points of Hebrew and Arabic), and so does a joiner."""
WORD_RUN = rf"{STARTS_WORD}{IN_WORD}*+"
EMOJI = r"[\p{Emoji_Modifier}[\p{Extended_Pictographic}--[\u0000-\u21ff]]]"
"""What begins an emoji. Older symbols (©, ™, ↔) are not words, unless they are followed by U+FE0F as emoji are."""
FLAG = r"\p{Regional_Indicator}{1,2}+"
CLUSTER = rf"(?={EMOJI}|\p{{Extended_Pictographic}}\ufe0f|{SPACELESS_LETTERS})\X\p{{M}}*+"
"""A character as a reader sees it (a grapheme cluster): an emoji of several code points, a consonant with its vowel."""
INVISIBLE = r"[\p{Default_Ignorable_Code_Point}--[\u200d\ufe0f\U000e0020-\U000e007f]]"
"""What has no part in a word, save what emoji are joined by and the joiner of Indian scripts."""


def split_words(text: str, *, hyphenated: bool = False) -> list[str]:
    """Return the words of a text, in lower case and in order.

    A word is a run of letters, digits and combining marks, with apostrophes between them ("don't"); where asked for,
    with hyphens too ("well-known"). Scripts that put no spaces between words are taken character by character. An
    emoji is a word, however many code points it is made of. Punctuation is none.
    """
    text = text.lower()
    if text.isascii():
        return (ASCII_HYPHENATED if hyphenated else ASCII_WORD).findall(text)
    return _found(_pattern(JOINERS + "-" * hyphenated), text)


def split_words_and_punctuation(text: str) -> list[str]:
    """Return the words of a text, in lower case, and between them its runs of punctuation and symbols, in order.

    Apostrophes are punctuation here ("don", "'", "t"), as for nltk's wordpunct tokenizer.
    """
    text = text.lower()
    return ASCII_TOKEN.findall(text) if text.isascii() else _found(_pattern("", punctuation=True), text)


def ngrams(words: Sequence[str], n: int) -> Iterator[tuple[str, ...]]:
    """Yield every run of n words."""
    return zip(*(words[start:] for start in range(n)), strict=False)


def copied_share(text: str, sources: Iterable[str], *, n: int = 4) -> float:
    """Return the share of a text's runs of n words that stand in one of the sources; 0 for a text of fewer words.

    Runs of four words are those by which evaluations and predictions say how much is copied.
    """
    runs = list(ngrams(split_words(text), n))
    there = {run for source in sources for run in ngrams(split_words(source), n)} if runs else set()
    return sum(run in there for run in runs) / len(runs) if runs else 0.0


def is_blank(text: str) -> bool:
    """Return whether a text shows nothing: white space, control characters and invisible ones (U+200B, U+3164, ...)."""
    visible = ASCII_VISIBLE if text.isascii() else _visible()
    return visible.search(text) is None


def tidy_text(text: str | None) -> str:
    r"""Return a frame's text with "\n" for every line's end and no white space around it; "" for a blank one."""
    tidy = (text or "").replace("\r\n", "\n").replace("\r", "\n").strip()
    return "" if is_blank(tidy) else tidy


def _found(pattern: Pattern[str], text: str) -> list[str]:
    found: list[str] = pattern.findall(_invisible().sub("", unicodedata.normalize("NFC", text)))
    return found


@cache
def _pattern(joiners: str, *, punctuation: bool = False) -> Pattern[str]:
    import regex

    run = f"{WORD_RUN}(?:[{joiners}]{WORD_RUN})*+" if joiners else WORD_RUN
    rest = rf"|[^\s\p{{L}}\p{{M}}\p{{N}}_\p{{Regional_Indicator}}{EMOJI}]+" if punctuation else ""
    return regex.compile(f"{FLAG}|{CLUSTER}|{run}{rest}", regex.VERSION1)


@cache
def _invisible() -> Pattern[str]:
    import regex

    return regex.compile(INVISIBLE, regex.VERSION1)


@cache
def _visible() -> Pattern[str]:
    import regex

    # Format characters (Cf) are invisible but for a few that enclose or precede digits (Prepended_Concatenation_Mark).
    # U+2800 is the braille pattern without a dot.
    return regex.compile(
        r"[[^\s\p{Z}\p{Cc}\p{Default_Ignorable_Code_Point}\u2800]--[\p{Cf}--\p{Prepended_Concatenation_Mark}]]",
        regex.VERSION1,
    )
