"""Words and runs of words, for the metrics that count them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from vsr_cli.api import VsrError, split_words


def words(text: str) -> list[str]:
    """Return the words of a text in lower case, in any script."""
    return split_words(text)


def require_words(metric: str, references: Iterable[str]) -> None:
    """Raise VsrError if no reference holds a word, so that a metric of words measures nothing."""
    if not any(map(split_words, references)):
        raise VsrError(f"{metric}: the references hold no word in any script (only punctuation or symbols); use chrf")


def ngrams(tokens: list[str], n: int) -> Iterator[tuple[str, ...]]:
    """Yield every run of n words."""
    return zip(*(tokens[start:] for start in range(n)), strict=False)
