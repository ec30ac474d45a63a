"""A small vocabulary, narratives of random numbers, and every text decoder built on them."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from vsr_cli.api import BuildContext, Narrative, TextObjective, Vocabulary
from vsr_cli.plugin.discovery import registry
from vsr_cli.plugin.loading import build

from ..narratives import make_context, make_narrative

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "Mara", "opens", "the", "box", "and", "waits", "."]
PAD, BOS, EOS = 0, 2, 3
WIDTH = 16
DECODERS = {
    "gru": {},
    "attention-gru": {},
    "attention-gru additive": {"score": "additive", "layers": 2},
    "transformer": {"dropout": 0.0},
    "transformer narrow": {"hidden": 8, "dropout": 0.0},
    "pointer-generator": {},
    "lm": {"trained": "all", "prefix": 3, "context_length": 12},
    "lm frozen": {"trained": "prefix", "prefix": 2, "context_length": 12},
    "lm lora": {"rank": 2, "image_tokens": 1, "context_length": 8},
    "lm divided": {"rank": 2, "lora_layers": 1, "context_length": 12, "gradient_checkpointing": True},
}


def tokenizer() -> Tokenizer:
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.add_special_tokens(WORDS[:4])
    return made


def write_language_model(folder: Path, architecture: str = "gpt2") -> Path:
    """Write a GPT-2 or a Llama of a few thousand weights, with a tokenizer."""
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(1)
    names = dict(zip(("pad_token", "unk_token", "bos_token", "eos_token"), WORDS, strict=False))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer(), **names).save_pretrained(folder)
    if architecture == "llama":
        shape = LlamaConfig(
            vocab_size=len(WORDS), hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=64, initializer_range=0.3, bos_token_id=BOS,
            eos_token_id=EOS, pad_token_id=PAD,
        )  # fmt: skip
        LlamaForCausalLM(shape).save_pretrained(folder)
        return folder
    config = GPT2Config(
        vocab_size=len(WORDS), n_embd=16, n_layer=2, n_head=2, n_positions=64, initializer_range=0.3,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=BOS, eos_token_id=EOS,
    )  # fmt: skip
    GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


def make_decoder(
    which, *, model: Path | None = None, assets: Path | None = None, width=WIDTH, objective=None, **options
):
    """Build a decoder of the list above; `model` is the folder that `lm` takes, `objective` what it is trained for."""
    name = which.split()[0]
    torch.manual_seed(0)
    provided = registry().find("text_decoder", name)
    given = {"length": 9, **DECODERS[which], **options}
    if name == "lm" and model is not None:
        given["model"] = str(model / ("llama" if "lora_layers" in given else "gpt2"))
    vocabulary = Vocabulary(tokenizer=tokenizer(), pad=PAD, bos=BOS, eos=EOS)
    context = BuildContext(
        width=width,
        steps=4,
        image_size=64,
        training_texts=list,
        vocabulary=vocabulary,
        text_objective=TextObjective(**objective or {}),
        assets=assets,
    )
    return build(provided, provided.component.options(**given), context)


def random_narrative(batch=3, width=WIDTH, seed=0) -> Narrative:
    """Return a narrative with texts of three words; the last frame of the second story is padding."""
    random = torch.Generator().manual_seed(seed)
    visual, text, steps = torch.randn(3, batch, 4, width, generator=random)
    ids = torch.randint(4, len(WORDS), (batch, 4, 5), generator=random)
    ids[..., 0], ids[..., 3], ids[..., 4] = BOS, EOS, PAD
    mask = torch.tensor([[True] * 4, [True] * 3 + [False], [True] * 4] * batch)[:batch]
    texts = [[" ".join(WORDS[i] for i in text[1:3]) for text in story] for story in ids.tolist()]
    context = make_context(visual, text=text, text_ids=ids, text_mask=ids != PAD, mask=mask, texts=texts)
    return make_narrative(context, steps=steps, summary=steps[:, -1])


def targets(model, texts):
    """Return the ids and the mask of texts as targets."""
    batch = model.tokenize(texts)
    return torch.from_numpy(batch.ids), torch.from_numpy(batch.mask)


def rows_of(narrative, rows):
    """Return some rows of a narrative."""
    context = narrative.context.take(rows)
    parts = {name: value[rows] for name, value in vars(narrative).items() if isinstance(value, torch.Tensor)}
    return Narrative(context=context, **parts)
