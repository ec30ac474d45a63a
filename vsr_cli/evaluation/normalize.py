"""Text normalization: the form in which predicted texts and references are compared."""

from __future__ import annotations

import re
import unicodedata

import regex

from ..api import SPACELESS_LETTERS

TAG = re.compile(r"< ?/? ?gd[ifoal](?![^\s!-/:-@\[-`{-~])[^<>]*>")
"""StoryReasoning's grounding tags, as they are written and as a tokenizer's words are joined ("< / gdo >")."""

TYPOGRAPHY = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′", "'"),
        **dict.fromkeys("“”„‟″«»", '"'),
        **dict.fromkeys("\u2010\u2011\u2212", "-"),  # hyphen, non-breaking hyphen, minus
        **dict.fromkeys("–—―‒", "--"),
        "…": "...",
    }
)
"""Typographic characters to ASCII, for sacrebleu's 13a and rouge-score know only ASCII punctuation."""

DROPPED = regex.compile(
    r"[\p{Default_Ignorable_Code_Point}\p{Cf}\p{Co}\ufffd[\p{Cc}--[\t-\r\x1c-\x1f\x85]]]", regex.VERSION1
)
"""Invisible characters (soft hyphens, joiners, variation selectors) and others that BERT's tokenizer drops."""

LETTER = r"[\p{L}\p{M}\p{N}_]"
HAN = r"\p{Script=Han}\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002ceaf\U0002f800-\U0002fa1f"
"""In a set. BERT's tokenizer splits off each, so that spaces beside them carry no information."""
MARK = r"!-/:-@\[-`{-~\p{P}\u166d\U000111c9"
"""In a set: punctuation (the last two are so to BERT), and all of ASCII that is neither letter, digit nor space."""
TOKEN = regex.compile(rf"[^\s{MARK}{HAN}]+|[{MARK}{HAN}]")
"""A word, a punctuation character or a Chinese character, as BERT's tokenizer splits them."""

WIDE = r"[\u3001-\u303f\u30fb\ufe10-\ufe1f\ufe30-\ufe4f\uff00-\uffef&&\p{P}]"
"""Chinese and Japanese punctuation: its white space is part of the character."""
OPENING = r"[¿¡§¶\p{Ps}\p{Pi}--[\u0000-\u007f]]"
CLOSING = r"[[\p{Pe}\p{Pf}་[\p{Terminal_Punctuation}&&\p{P}]]--[\u0000-\u007f]]"
JOINING = "·‧־׳״་፡՚՛՜՞"
"""Catalan, Hebrew, Tibetan, Ethiopic and Armenian marks that stand in a word, or between two without a space."""
SPACED = rf"[[\p{{L}}\p{{M}}\p{{N}}]--{SPACELESS_LETTERS}]"

TIDY = (
    (regex.compile(r" (?=[.,;:!?%)\]}])"), ""),  # "end ." -> "end."
    (regex.compile(r"(?<=[(\[{$#]) "), ""),  # "( so" -> "(so"
    (regex.compile(r"(?<=\d\.) (?=\d)|(?<=\d,) (?=\d{3}\b)|(?<=\d:) (?=\d\d\b)"), ""),  # 3.5, 1,000, 10:30
    # "don ' t" -> "don't"; "o ' clock" -> "o'clock", O'Brien, y'all, ma'am
    (regex.compile(rf"(?<={LETTER}) ' (?=(?:s|t|d|m|re|ve|ll)(?!{LETTER}))", regex.IGNORECASE), "'"),
    (regex.compile(rf"(?<!{LETTER})(o|d|y|ma) ' (?={LETTER})", regex.IGNORECASE), r"\1'"),
    (regex.compile(r"(?<=-) (?=-)"), ""),  # "- -" -> "--"
    (regex.compile(rf"(?<={LETTER}) ([-/]) (?={LETTER})"), r"\1"),  # "well - known" -> "well-known"
    (regex.compile(r'" ?([^"]*?) ?"'), r'"\1"'),  # '" Go ! "' -> '"Go!"'
)
"""Spaces removed beside punctuation, where written text has none. None is added, and none removed between two words."""
TIDY_BEYOND_ASCII = (
    (regex.compile(rf"(?<={LETTER}) ([{JOINING}]) (?={LETTER})"), r"\1"),
    (regex.compile(rf" (?={CLOSING})|(?<={OPENING}) ", regex.VERSION1), ""),
    (regex.compile(rf" (?={WIDE})|(?<={WIDE}) ", regex.VERSION1), ""),
    # A space stays between a Chinese character and a word of a script with spaces: "手机" beside "Bob" or "3".
    (regex.compile(rf"(?<=[{HAN}]) (?!{SPACED})|(?<!{SPACED}) (?=[{HAN}])", regex.VERSION1), ""),
)
"""The same for other scripts; no rule changes plain ASCII."""


def clean_text(text: str) -> str:
    """Return the normalized text: apply it to predictions and references alike.

    Tags and invisible characters are removed, typographic quotes and dashes become ASCII, Unicode is composed (NFC),
    and spacing becomes a function of words and punctuation alone: the text is split as BERT's tokenizer does and joined
    again by fixed rules. So a text and what a WordPiece tokenizer decodes of it normalize alike in every script
    ("don ' t" is "don't", "我 们 。" is "我们。"), except for what the tokenizer itself drops: case, accents, unknown
    words. Distinctions that this loses are lost on both sides: a dash written as " - " becomes a hyphen, quoting or
    plural possessive apostrophes are set apart ("the dogs ' bones"), and joined emoji are written one by one.

    `clean_text(clean_text(x)) == clean_text(x)`; the time is linear in the length.
    """
    return marked_text(without_tags(" ".join(_plain(text).split())))


def marked_text(text: str) -> str:
    """Return the normalized text with its tags left in; only the leaky protocol uses it."""
    spaced = " ".join(TOKEN.findall(_plain(text)))
    for pattern, replacement in TIDY if spaced.isascii() else (*TIDY, *TIDY_BEYOND_ASCII):
        spaced = pattern.sub(replacement, spaced)
    return spaced


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", DROPPED.sub("", text.translate(TYPOGRAPHY)))


def without_tags(text: str) -> str:
    """Remove tags, without a space in their place, since they enclose words. Tags that this creates are removed too."""
    pieces: list[list[str]] = [[]]  # the last piece begins at the last bracket
    for part in re.split("([<>])", text):
        if part == ">" and TAG.fullmatch("".join([*pieces[-1], part])):
            pieces.pop()
        elif part in ("<", ">"):
            pieces.append([part])
        else:
            pieces[-1].append(part)
    return "".join(part for piece in pieces for part in piece)
