"""The vocabulary that belongs to a pretrained text encoder."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

from vsr_cli.api import Vocabulary, VsrError

SPECIAL_TOKENS = (("[PAD]", "[CLS]", "[SEP]"), ("<pad>", "<s>", "</s>"))
"""Padding, first and last token of BERT (Devlin et al., 2019) and of RoBERTa (Liu et al., 2019)."""


def find_vocabulary(place: str) -> Vocabulary:
    """Read the tokenizer of a `tokenizer.json` file, a folder or a hub id.

    Raises VsrError if it has no padding, first or last token; OSError or ValueError if there is none at
    that place.
    """
    try:
        tokenizer, ids = _of_file(place) if Path(place).is_file() else _of_model(place)
    except Exception as error:
        # The tokenizers library raises a bare Exception at a file that it cannot read.
        if type(error) is not Exception:
            raise
        raise ValueError(str(error)) from error
    pad, bos, eos = ids
    if tokenizer is None or pad is None or bos is None or eos is None:
        raise VsrError(
            f"text encoder: the tokenizer cannot be used ({place}: no padding, first or last token, or not a "
            "tokenizer.json); give another by --set text.tokenizer=FILE"
        )
    # Settings of the file that `Vocabulary` takes over; the cache key digests the tokenizer without them.
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return Vocabulary(tokenizer=tokenizer, pad=pad, bos=bos, eos=eos)


def _of_file(place: str) -> tuple[Tokenizer, list[int | None]]:
    tokenizer = Tokenizer.from_file(place)
    triples = [[tokenizer.token_to_id(token) for token in triple] for triple in SPECIAL_TOKENS]
    return tokenizer, next((triple for triple in triples if None not in triple), [None] * 3)


def _of_model(place: str) -> tuple[Tokenizer | None, list[int | None]]:
    from transformers import AutoTokenizer

    loaded = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
    first = loaded.bos_token_id if loaded.cls_token_id is None else loaded.cls_token_id
    last = loaded.eos_token_id if loaded.sep_token_id is None else loaded.sep_token_id
    # A few tokenizers are of Python alone and have no `backend_tokenizer`.
    return getattr(loaded, "backend_tokenizer", None), [loaded.pad_token_id, first, last]
