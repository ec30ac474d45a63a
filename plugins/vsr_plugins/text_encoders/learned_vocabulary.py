"""The WordPiece vocabulary that small text encoders learn from the training texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import regex
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from vsr_cli.api import Vocabulary, VsrError, is_blank

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
"""BERT's, at ids 0 to 4."""
UNKNOWN = "[UNK]"
CONTINUING = "##"
"""Prefix of pieces inside a word, as in BERT."""
SPACE = "▁"
"""Marks the space before a word."""
ALPHABET = [chr(code) for code in range(ord("!"), ord("~") + 1)]
"""Printable ASCII, always in the vocabulary."""
CHINESE = r"\p{Han}"
"""Characters that are single words, as in BERT's tokenizer."""
IS_CHINESE = regex.compile(CHINESE)
ALWAYS = 1 << 60
"""Count of each ASCII character, so that none is dropped."""
LONGEST_WORD = 1000
"""Characters; a longer word is unknown, since its tokenization has quadratic cost."""


def learn_vocabulary(texts: Iterable[str], *, size: int) -> Vocabulary:
    """Learn a WordPiece vocabulary of at most `size` pieces from a stream of texts, read once.

    Equal texts give equal vocabularies on every machine. The library's WordPiece trainer merges pieces as in byte-pair
    encoding (Sennrich et al., 2016) but breaks ties by a hash seeded per process, so the BPE trainer learns the pieces,
    and each that can occur inside a word is added in both forms. The space before a word is part of its first piece,
    so that decoding restores apostrophes and quotation marks. If there are too many characters, as in Chinese, only
    the most frequent are added.

    Raises VsrError if there is no text.
    """
    present = (text for text in texts if not is_blank(text))
    first = next(present, None)
    if first is None:
        raise VsrError(
            "text encoder: the training split has no text to learn a vocabulary from; "
            "choose a dataset with texts in its training split"
        )
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(prepend_scheme="always"),
            pre_tokenizers.Punctuation("isolated"),
            pre_tokenizers.Split(Regex(CHINESE), "isolated"),
        ]
    )
    # The prefix never occurs in a piece of a text: each "#" is punctuation, a word of its own.
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(CONTINUING, ""), decoders.Metaspace(prepend_scheme="always")]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=SPECIAL_TOKENS, initial_alphabet=ALPHABET, show_progress=False
    )
    counts: Counter[str] = Counter(dict.fromkeys(ALPHABET, ALWAYS))
    tokenizer.train_from_iterator(_counted(chain([first], present), counts, tokenizer.normalizer), trainer)
    learned: dict[str, int] = tokenizer.get_vocab()
    found = sorted(learned.keys() - set(SPECIAL_TOKENS), key=learned.__getitem__)  # the alphabet first
    pieces = [
        *SPECIAL_TOKENS,
        *chain.from_iterable(map(_forms, _most_frequent(found, counts, capacity=size - len(SPECIAL_TOKENS)))),
    ]
    tokenizer.model = models.WordPiece(
        {piece: index for index, piece in enumerate(pieces[:size])},
        unk_token=UNKNOWN,
        continuing_subword_prefix=CONTINUING,
        max_input_chars_per_word=LONGEST_WORD,
    )
    return Vocabulary(tokenizer=tokenizer, pad=0, bos=2, eos=3)


def _counted(texts: Iterable[str], counts: Counter[str], normalizer: normalizers.Normalizer) -> Iterator[str]:
    """Yield texts and count their characters."""
    for text in texts:
        counts.update(normalizer.normalize_str(text))
        yield text


def _forms(piece: str) -> list[str]:
    """Return the forms of a piece: at the start of a word, inside it, or both."""
    alone = piece.startswith(SPACE) or IS_CHINESE.fullmatch(piece)
    return [piece] if alone else [piece, CONTINUING + piece]


def _most_frequent(pieces: Sequence[str], counts: Counter[str], *, capacity: int) -> Sequence[str]:
    """Return all pieces, or the most frequent characters if the characters alone exceed the vocabulary."""
    alphabet = [piece for piece in pieces if len(piece) == 1]
    if sum(len(_forms(piece)) for piece in alphabet) <= capacity:
        return pieces
    kept = []
    for piece in sorted(alphabet, key=lambda piece: (piece != SPACE, -counts[piece], piece)):
        capacity -= len(_forms(piece))
        if capacity < 0:
            break
        kept.append(piece)
    return sorted(kept)
