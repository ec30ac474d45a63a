"""Counting the words and the tokens of texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ..api import split_words
from ..errors import VsrError

WORDS_AND_MARKS = (
    "words and punctuation marks, and single Chinese characters, as BERT splits text before it splits words"
)

CountTokens = Callable[[Sequence[str]], list[int]]


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case, in order: "don't" and "well-known" are a word each."""
    return split_words(text, hyphenated=True)


def count_words_and_marks(texts: Sequence[str]) -> list[int]:
    """Count what no WordPiece tokenizer of BERT's kind makes fewer tokens of: each word, each punctuation mark."""
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer

    normalizer, splitter = (
        BertNormalizer(lowercase=False),
        BertPreTokenizer(),
    )  # the first sets Chinese characters apart
    return [len(splitter.pre_tokenize_str(normalizer.normalize_str(text))) for text in texts]


def tokens_by(place: Path) -> CountTokens:
    """Make the function that counts tokens by a `tokenizer.json` file, or that of a folder, special tokens included.

    Raises VsrError if there is none.
    """
    from tokenizers import Tokenizer

    path = place / "tokenizer.json" if place.is_dir() else place
    if not path.is_file():
        raise VsrError(f"--tokenizer {place}: no such file; name a tokenizer.json or the folder that holds one")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:
        # The tokenizers library raises a bare Exception at a file that it cannot read.
        if type(error) is not Exception:
            raise
        raise VsrError(f"--tokenizer {place}: not a tokenizer.json ({error}); name a model's own") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True  # "[SEP]" in a text is text
    return lambda texts: [len(encoded.ids) for encoded in tokenizer.encode_batch_fast(list(texts))]
