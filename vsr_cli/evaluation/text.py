"""The one form in which a predicted text and its reference are compared."""

from __future__ import annotations

import re
import unicodedata

TAG = re.compile(r"< ?/? ?gd[ifoal](?![^\s!-/:-@\[-`{-~])[^<>]*>")
"""StoryReasoning's grounding tags, as they are written and as a tokenizer's words are joined ("< / gdo >")."""

TYPOGRAPHY = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′", "'"),
        **dict.fromkeys("“”„‟″«»", '"'),
        **dict.fromkeys("\u2010\u2011\u2212", "-"),  # hyphen, non-breaking hyphen, minus
        **dict.fromkeys("–—―‒", "--"),
        "…": "...",
        **dict.fromkeys("\u00ad\u200b\u2060\ufeff", ""),  # soft hyphen, zero-width space, word joiner, BOM
    }
)
"""Typographic characters to ASCII, for sacrebleu's 13a and rouge-score know only ASCII punctuation."""

TOKEN = re.compile(r"[^\s!-/:-@\[-`{-~]+|[!-/:-@\[-`{-~]")
"""A word or one ASCII punctuation character, as BERT's pre-tokenizer parts them."""

TIDY = (
    (re.compile(r" (?=[.,;:!?%)\]}])"), ""),  # "end ." -> "end."
    (re.compile(r"(?<=[(\[{$#]) "), ""),  # "( so" -> "(so"
    (re.compile(r"(?<=\d\.) (?=\d)|(?<=\d,) (?=\d{3}\b)|(?<=\d:) (?=\d\d\b)"), ""),  # 3.5, 1,000, 10:30
    (re.compile(r"(?<=\w) ' (?=(?:s|t|d|m|re|ve|ll)\b)", re.IGNORECASE), "'"),  # "don ' t" -> "don't"
    (re.compile(r"\b(o|d|y|ma) ' (?=\w)", re.IGNORECASE), r"\1'"),  # o'clock, O'Brien, y'all, ma'am
    (re.compile(r"(?<=-) (?=-)"), ""),  # "- -" -> "--"
    (re.compile(r"(?<=\w) ([-/]) (?=\w)"), r"\1"),  # "well - known" -> "well-known"
    (re.compile(r'" ?([^"]*?) ?"'), r'"\1"'),  # '" Go ! "' -> '"Go!"'
)
"""Spaces taken out beside punctuation, where writing has none. None is put in, and none between two words."""


def clean_text(text: str) -> str:
    """Give the form in which texts are compared: apply it to predictions and references alike.

    Tags go, typographic quotes and dashes become ASCII, Unicode is composed (NFC), and spacing is made a
    function of the words and punctuation alone: the text is parted as BERT's tokenizer parts it and joined
    again by fixed rules. So a text and what a WordPiece tokenizer decodes of it come out alike ("don ' t" is
    "don't"), but for what the tokenizer itself drops: case, accents, unknown words. Where that loses a
    distinction it is lost on both sides: a dash written as " - " becomes a hyphen, and quoting or plural
    possessive apostrophes stand free ("the dogs ' bones").

    `clean_text(clean_text(x)) == clean_text(x)`; the time is linear in the length.
    """
    return marked_text(_without_tags(" ".join(_plain(text).split())))


def marked_text(text: str) -> str:
    """Give the form of a text with its tags left in: no result is of texts in this form."""
    spaced = " ".join(TOKEN.findall(_plain(text)))
    for pattern, replacement in TIDY:
        spaced = pattern.sub(replacement, spaced)
    return spaced


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text.translate(TYPOGRAPHY))


def _without_tags(text: str) -> str:
    """Leave out tags; nothing takes their place, since they stand around words. What then closes to a tag goes too."""
    pieces: list[list[str]] = [[]]  # the last is what a bracket has opened or closed last, in parts
    for part in re.split("([<>])", text):
        if part == ">" and TAG.fullmatch("".join([*pieces[-1], part])):
            pieces.pop()
        elif part in ("<", ">"):
            pieces.append([part])
        else:
            pieces[-1].append(part)
    return "".join(part for piece in pieces for part in piece)
