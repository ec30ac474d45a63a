"""The vocabulary of a pretrained text encoder."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer, decoders

from vsr_cli.api import Vocabulary, VsrError

SPECIAL_TOKENS = (
    ("[PAD]", "[CLS]", "[SEP]"),
    ("<pad>", "<s>", "</s>"),
    ("<pad>", "<bos>", "<eos>"),
    ("<|endoftext|>", "<|startoftext|>", "<|endoftext|>"),
)
"""Padding, first and last token of BERT (Devlin et al., 2019), RoBERTa (Liu et al., 2019), Gemma and CLIP."""
PADDING = "[ADDED_PAD]"
FIRST = "[ADDED_BOS]"
"""Tokens that we add if a tokenizer has none, or uses eos for them: decoders need distinct tokens."""


def find_vocabulary(place: str) -> Vocabulary:
    """Read the tokenizer of a `tokenizer.json` file, a folder or a hub id.

    Padding and bos are added if missing; see `added_to`. Raises VsrError if there is no eos token; OSError or
    ValueError if there is no tokenizer.
    """
    try:
        tokenizer, ids = _of_file(place) if Path(place).is_file() else _of_model(place)
    except Exception as error:
        # The tokenizers library raises a bare Exception for a broken file.
        if type(error) is not Exception:
            raise
        raise ValueError(str(error)) from error
    pad, bos, eos = ids
    if tokenizer is None or eos is None:
        raise VsrError(
            f"text encoder: the tokenizer cannot be used ({place}: no eos token, or not a tokenizer.json); "
            "choose another by --set text.tokenizer=FILE"
        )
    # `Vocabulary` handles both; the cache key excludes them.
    tokenizer.no_padding()
    tokenizer.no_truncation()
    suffix = getattr(tokenizer.model, "end_of_word_suffix", None)
    if suffix and tokenizer.decoder is not None:  # CLIP's decoder leaves "</w>" in texts
        tokenizer.decoder = decoders.Sequence([tokenizer.decoder, decoders.Replace(suffix, " ")])
    pad = _added(tokenizer, PADDING) if pad in (None, eos) else pad
    bos = _added(tokenizer, FIRST) if bos in (None, eos) else bos
    assert pad is not None
    assert bos is not None
    return Vocabulary(tokenizer=tokenizer, pad=pad, bos=bos, eos=eos)


def added_to(vocabulary: Vocabulary) -> set[int]:
    """Return the ids added for decoders, which the model must not read."""
    ids = (vocabulary.tokenizer.token_to_id(token) for token in (PADDING, FIRST))
    return {index for index in ids if index is not None}


def _added(tokenizer: Tokenizer, token: str) -> int | None:
    tokenizer.add_special_tokens([token])
    return tokenizer.token_to_id(token)


def _of_file(place: str) -> tuple[Tokenizer, list[int | None]]:
    tokenizer = Tokenizer.from_file(place)
    triples = [[tokenizer.token_to_id(token) for token in triple] for triple in SPECIAL_TOKENS]
    return tokenizer, next((triple for triple in triples if triple[2] is not None), [None] * 3)


def _of_model(place: str) -> tuple[Tokenizer | None, list[int | None]]:
    from transformers import AutoTokenizer

    loaded = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
    first = loaded.bos_token_id if loaded.cls_token_id is None else loaded.cls_token_id
    last = loaded.eos_token_id if loaded.sep_token_id is None else loaded.sep_token_id
    # Slow (Python) tokenizers have no `backend_tokenizer`.
    return getattr(loaded, "backend_tokenizer", None), [loaded.pad_token_id, first, last]
