"""Small models of random weights in the format of transformers."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from torchvision.models import alexnet
from transformers import (
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    GPT2Config,
    GPT2LMHeadModel,
)
from transformers import PreTrainedTokenizerFast as FastTokenizer

MARKS = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
SIZES = {"hidden_size": 24, "num_attention_heads": 3, "num_hidden_layers": 3, "intermediate_size": 32}


def tokenizer() -> FastTokenizer:
    """Make a tokenizer that writes any lower-case text letter by letter."""
    letters = [chr(code) for code in range(33, 127)]
    tokens = [*MARKS.values(), *letters, *(f"##{letter}" for letter in letters)]
    made = Tokenizer(models.WordPiece({token: index for index, token in enumerate(tokens)}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return FastTokenizer(tokenizer_object=made, **MARKS)


def save_bert(folder: Path) -> Path:
    torch.manual_seed(0)
    fast = tokenizer()
    fast.save_pretrained(folder)
    BertModel(BertConfig(vocab_size=len(fast), max_position_embeddings=64, **SIZES)).save_pretrained(folder)
    return folder


def save_gpt2(folder: Path) -> Path:
    torch.manual_seed(0)
    fast = tokenizer()
    fast.add_special_tokens({"bos_token": "[CLS]", "eos_token": "[SEP]"})
    fast.save_pretrained(folder)
    marks = {"vocab_size": len(fast), "bos_token_id": 2, "eos_token_id": 3}
    GPT2LMHeadModel(GPT2Config(n_embd=24, n_layer=2, n_head=2, n_positions=128, **marks)).save_pretrained(folder)
    return folder


def save_clip(folder: Path) -> Path:
    torch.manual_seed(0)
    fast = tokenizer()
    marks = {"vocab_size": len(fast), "bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
    configuration = CLIPConfig(
        text_config={**SIZES, **marks}, vision_config={**SIZES, "image_size": 16, "patch_size": 8}, projection_dim=8
    )
    CLIPModel(configuration).save_pretrained(folder)
    pictures = CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    CLIPProcessor(pictures, fast).save_pretrained(folder)
    return folder


def save_alexnet(folder: Path) -> Path:
    folder.mkdir()
    torch.manual_seed(0)
    layers = alexnet(weights=None).features.state_dict()
    path = folder / "alexnet.safetensors"
    save_file({f"features.{name}": tensor for name, tensor in layers.items()}, path)
    return path
