"""A vocabulary learnt from the training texts."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from vsr_cli.api import Vocabulary, VsrError

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
"""BERT's, at ids 0 to 4."""
UNKNOWN = "[UNK]"
CONTINUING = "##"
"""BERT's prefix of pieces that continue a word."""
SPACE = "▁"
"""What stands for the space before a word."""
ALPHABET = [chr(code) for code in range(ord("!"), ord("~") + 1)]
"""Any text of printable ASCII can be read and written, whatever the training texts hold."""
LONGEST_WORD = 1000
"""Characters; a longer word is unknown, as taking it apart costs the square of its length."""


def learn_vocabulary(texts: Iterable[str], *, size: int, lowercase: bool) -> Vocabulary:
    """Learn a WordPiece vocabulary of at most `size` pieces from texts, which are read once, as a stream.

    Equal texts give equal vocabularies on every machine. The library's WordPiece trainer joins pieces as in
    byte-pair encoding (Sennrich et al., 2016) but breaks ties by a hash seeded anew in each process; its trainer
    for byte pairs does not, so that one learns the pieces, and each that can stand inside a word is taken up in both
    its forms. A word's leading space is part of its first piece, so that decoding gives back every apostrophe
    and quotation mark where it stood.

    Raises VsrError if there is no text.
    """
    present = (text for text in texts if text.strip())
    first = next(present, None)
    if first is None:
        raise VsrError(
            "text encoder: no vocabulary can be learnt (the training split has no text); "
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
        [pre_tokenizers.Metaspace(prepend_scheme="always"), pre_tokenizers.Punctuation("isolated")]
    )
    # No piece of a text holds the prefix itself: each "#" is punctuation, and so a word of its own.
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(CONTINUING, ""), decoders.Metaspace(prepend_scheme="always")]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=SPECIAL_TOKENS, initial_alphabet=ALPHABET, show_progress=False
    )
    tokenizer.train_from_iterator(chain([first], present), trainer)
    learnt: dict[str, int] = tokenizer.get_vocab()
    pieces = list(SPECIAL_TOKENS)
    for piece in sorted(learnt.keys() - set(SPECIAL_TOKENS), key=learnt.__getitem__):  # the alphabet first
        pieces += [piece] if piece.startswith(SPACE) else [piece, CONTINUING + piece]
    tokenizer.model = models.WordPiece(
        {piece: index for index, piece in enumerate(pieces[:size])},
        unk_token=UNKNOWN,
        continuing_subword_prefix=CONTINUING,
        max_input_chars_per_word=LONGEST_WORD,
    )
    return Vocabulary(tokenizer=tokenizer, pad=0, bos=2, eos=3)
