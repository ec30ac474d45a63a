"""A WordPiece tokenizer of any size without a download, for benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers


def write_tokenizer(path: Path, *, size: int, words: Sequence[str] = ()) -> int:
    """Write a tokenizer with BERT's special tokens, single characters, these words and made-up ones, of so many tokens.

    Returns the number of made-up words: word0, word1 and so on.
    """
    special = ["[PAD]", *[f"[unused{number}]" for number in range(99)], "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [chr(code) for code in range(ord("!"), ord("~") + 1) if not chr(code).isupper()]
    pieces = [*special, *letters, *(f"##{letter}" for letter in letters), *words]
    made_up = size - len(pieces)
    pieces += [f"word{number}" for number in range(made_up)]
    tokenizer = Tokenizer(models.WordPiece({piece: at for at, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    tokenizer.save(str(path))
    return made_up
