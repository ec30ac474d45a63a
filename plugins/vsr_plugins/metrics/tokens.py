"""Words, stems and scripts, as the text metrics compare them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Literal

from vsr_cli.api import SPACELESS_LETTERS, VsrError, split_words

if TYPE_CHECKING:
    from regex import Pattern

LEAST_SHARE = 0.1
"""Of a reference's letters and emoji: fewer of another script do not decide how it is tokenized."""

BleuTokenizer = Literal["13a", "intl", "zh", "char"]
TOKENIZERS: tuple[BleuTokenizer, ...] = ("13a", "intl", "zh", "char")
"""sacrebleu's. Each also handles texts for which an earlier one is enough."""
NEEDS = {
    "char": rf"[{SPACELESS_LETTERS}--\p{{Script=Han}}]",
    "zh": r"\p{Script=Han}",
    "intl": r"[[\p{L}\p{M}\p{Extended_Pictographic}\p{Regional_Indicator}]"
    r"--[\p{Script=Latin}\p{Script=Greek}\p{Script=Cyrillic}\p{Script=Hangul}\p{Script=Common}\p{Script=Inherited}]"
    rf"--{SPACELESS_LETTERS}]|\p{{Emoji_Presentation}}",
}
"""What each tokenizer is needed for: scripts without spaces that sacrebleu has no tokenizer for; Chinese; and scripts
with punctuation of their own (13a knows that of ASCII alone) and emoji."""

OTHER_SCRIPTS = r"[\p{L}--\p{Script=Latin}]"


def require_words(metric: str, references: Iterable[str]) -> None:
    """Raise VsrError if no reference holds a word, so that a metric of words measures nothing."""
    if not any(map(split_words, references)):
        raise VsrError(f"{metric}: the references hold no word in any script (only punctuation or symbols); use chrf")


class PorterStems:
    """nltk's Porter stemmer with a memory."""

    def __init__(self) -> None:
        from nltk.stem.porter import PorterStemmer

        self._stem = lru_cache(maxsize=1 << 16)(PorterStemmer().stem)

    def stem(self, word: str) -> str:
        """Return the stem of a word, in lower case."""
        return str(self._stem(word))


def bleu_tokenizer(references: Iterable[str]) -> BleuTokenizer:
    """Return the one sacrebleu tokenizer that handles all references."""
    return max((_needed(text) for text in references if not text.isascii()), key=TOKENIZERS.index, default="13a")


def stemmer_of(references: Iterable[str]) -> Literal["porter", "porter-latin", "no"]:
    """Return what the Porter stemmer does to references: it stems all, those in Latin letters, or none."""
    texts = list(references)
    if not any(_pattern(r"\p{Script=Latin}").search(text) for text in texts):
        return "no"
    return "porter-latin" if any(_pattern(OTHER_SCRIPTS).search(text) for text in texts) else "porter"


def _needed(text: str) -> BleuTokenizer:
    whole = len(_pattern(r"[\p{L}\p{M}\p{Extended_Pictographic}\p{Regional_Indicator}]").findall(text))
    for name in ("char", "zh", "intl"):
        if whole and len(_pattern(NEEDS[name]).findall(text)) >= LEAST_SHARE * whole:
            return name
    return "13a"


@cache
def _pattern(expression: str) -> Pattern[str]:
    import regex

    return regex.compile(expression, regex.VERSION1)
