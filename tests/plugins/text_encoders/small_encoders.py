"""Small text encoders of random weights, as transformers stores them."""

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    MPNetConfig,
    MPNetModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
)

LETTERS = [letter for code in range(97, 123) for letter in (chr(code), f"##{chr(code)}")]


WORDS = ["mara", "opens", "the", "box", "and", "waits", "she", "says", ".", ",", "'"]


BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


SIZES = {"vocab_size": 80, "max_position_embeddings": 40}


BERT_SIZES = {"hidden_size": 24, "num_attention_heads": 3, "num_hidden_layers": 3, "intermediate_size": 32}


KINDS = {
    "distilbert": (
        DistilBertModel,
        DistilBertConfig(**SIZES, dim=24, n_heads=3, n_layers=3, hidden_dim=32),
        BERT,
    ),
    "bert": (BertModel, BertConfig(**SIZES, **BERT_SIZES), BERT),
    "roberta": (
        RobertaModel,
        RobertaConfig(**SIZES, **BERT_SIZES, pad_token_id=1, bos_token_id=0, eos_token_id=2),
        ROBERTA,
    ),
    "mpnet": (MPNetModel, MPNetConfig(**SIZES, **BERT_SIZES, pad_token_id=1), ROBERTA),
}


def word_pieces(special) -> Tokenizer:
    unknown = special[3] if special is ROBERTA else special[1]
    vocabulary = {token: index for index, token in enumerate([*special, *LETTERS, *WORDS])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=unknown))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(special)
    return tokenizer


def save_model(folder, kind):
    network, config, special = KINDS[kind]
    torch.manual_seed(1)
    network(config).save_pretrained(folder)
    names = ("cls", "pad", "sep", "unk") if special is ROBERTA else ("pad", "unk", "cls", "sep")
    tokens = {f"{name}_token": token for name, token in zip(names, special, strict=False)}
    PreTrainedTokenizerFast(tokenizer_object=word_pieces(special), **tokens).save_pretrained(folder)
    return str(folder)
