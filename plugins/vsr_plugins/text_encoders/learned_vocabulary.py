"""A vocabulary learnt from the training texts."""

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
"""BERT's prefix of pieces that continue a word."""
SPACE = "▁"
"""What stands for the space before a word."""
ALPHABET = [chr(code) for code in range(ord("!"), ord("~") + 1)]
"""Any text of printable ASCII can be read and written, whatever the training texts hold."""
CHINESE = r"\p{Han}"
"""Characters that are words of their own, as BERT's tokenizer has it: one that is unknown takes no other with it."""
IS_CHINESE = regex.compile(CHINESE)
ALWAYS = 1 << 60
"""How often ASCII counts as seen."""
LONGEST_WORD = 1000
"""Characters; a longer word is unknown, as taking it apart costs the square of its length."""


def learn_vocabulary(texts: Iterable[str], *, size: int, lowercase: bool) -> Vocabulary:
    """Learn a WordPiece vocabulary of at most `size` pieces from texts, which are read once, as a stream.

    Equal texts give equal vocabularies on every machine. The library's WordPiece trainer joins pieces as in
    byte-pair encoding (Sennrich et al., 2016) but breaks ties by a hash seeded anew in each process; its trainer
    for byte pairs does not, so that one learns the pieces, and each that can stand inside a word is taken up in both
    its forms. A word's leading space is part of its first piece, so that decoding gives back every apostrophe
    and quotation mark where it stood. Where the characters alone are too many, as in Chinese, the commonest are kept.

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
    steps: list[normalizers.Normalizer] = [
        normalizers.NFC(),
        normalizers.Replace(Regex(r"\s+"), " "),
        normalizers.Strip(),
    ]
    if lowercase:
        steps.append(normalizers.Lowercase())
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(prepend_scheme="always"),
            pre_tokenizers.Punctuation("isolated"),
            pre_tokenizers.Split(Regex(CHINESE), "isolated"),
        ]
    )
    # No piece of a text holds the prefix itself: each "#" is punctuation, and so a word of its own.
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(CONTINUING, ""), decoders.Metaspace(prepend_scheme="always")]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=SPECIAL_TOKENS, initial_alphabet=ALPHABET, show_progress=False
    )
    counts: Counter[str] = Counter(dict.fromkeys(ALPHABET, ALWAYS))
    tokenizer.train_from_iterator(_counted(chain([first], present), counts, tokenizer.normalizer), trainer)
    learnt: dict[str, int] = tokenizer.get_vocab()
    found = sorted(learnt.keys() - set(SPECIAL_TOKENS), key=learnt.__getitem__)  # the alphabet first
    pieces = [
        *SPECIAL_TOKENS,
        *chain.from_iterable(map(_forms, _commonest(found, counts, room=size - len(SPECIAL_TOKENS)))),
    ]
    tokenizer.model = models.WordPiece(
        {piece: index for index, piece in enumerate(pieces[:size])},
        unk_token=UNKNOWN,
        continuing_subword_prefix=CONTINUING,
        max_input_chars_per_word=LONGEST_WORD,
    )
    return Vocabulary(tokenizer=tokenizer, pad=0, bos=2, eos=3)


def _counted(texts: Iterable[str], counts: Counter[str], normalizer: normalizers.Normalizer) -> Iterator[str]:
    """Yield texts, and count their characters in passing."""
    for text in texts:
        counts.update(normalizer.normalize_str(text))
        yield text


def _forms(piece: str) -> list[str]:
    """Return the forms in which a piece can stand in a word: at its start, inside it, or both."""
    alone = piece.startswith(SPACE) or IS_CHINESE.fullmatch(piece)
    return [piece] if alone else [piece, CONTINUING + piece]


def _commonest(pieces: Sequence[str], counts: Counter[str], *, room: int) -> Sequence[str]:
    """Return pieces as they are, or if there is no room for the characters among them the commonest characters."""
    alphabet = [piece for piece in pieces if len(piece) == 1]
    if sum(len(_forms(piece)) for piece in alphabet) <= room:
        return pieces
    kept = []
    for piece in sorted(alphabet, key=lambda piece: (piece != SPACE, -counts[piece], piece)):
        room -= len(_forms(piece))
        if room < 0:
            break
        kept.append(piece)
    return sorted(kept)
