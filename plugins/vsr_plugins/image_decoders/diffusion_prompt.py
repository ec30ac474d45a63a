"""The prompt of a text-to-image pipeline: the next text, the style, and the names of the story's characters."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

WORD = re.compile(r"[^\W\d_][\w'’-]*")
AFTER_A_SENTENCE = re.compile(r"(^|[.!?…:\"“”«»()\n])\W*$")


def make_prompt(text: str, context: Sequence[str], *, style: str, tokenizer: Any) -> str:
    """Return the next text, followed by the style and the names that recur in the context's texts.

    It is within the tokenizer's length: names that do not fit are left out, then words at the end of the text.
    """
    limit = tokenizer.model_max_length
    words = text.split()
    while len(words) > 1 and not _fits(_joined(words, style), tokenizer, limit):
        words.pop()
    prompt = _joined(words, style)
    for name in recurring_names(context):
        if not re.search(rf"\b{re.escape(name)}\b", text):
            longer = f"{prompt}, {name}" if prompt else name
            if not _fits(longer, tokenizer, limit):
                break
            prompt = longer
    return prompt


def recurring_names(texts: Sequence[str]) -> list[str]:
    """Return the names in at least two of the texts, in order of appearance.

    A name is a capitalized word that is, somewhere in the texts, not the first word of a sentence.
    """
    names = {word for text in texts for word, begins in _capitalized(text) if not begins}
    found: dict[str, int] = {}
    for text in texts:
        for word in dict.fromkeys(word for word, _ in _capitalized(text) if word in names):
            found[word] = found.get(word, 0) + 1
    return [word for word, count in found.items() if count > 1]


def _capitalized(text: str) -> Iterator[tuple[str, bool]]:
    """Yield each capitalized word, without a possessive ending, and whether it begins a sentence."""
    for match in WORD.finditer(text):
        word = re.sub(r"['’].*", "", match[0])
        if len(word) > 1 and word[0].isupper():
            yield word, AFTER_A_SENTENCE.search(text[: match.start()]) is not None


def _joined(words: Sequence[str], style: str) -> str:
    return " ".join([*words, *style.split()])


def _fits(prompt: str, tokenizer: Any, limit: int) -> bool:
    return len(tokenizer(prompt, truncation=False, verbose=False)["input_ids"]) <= limit
