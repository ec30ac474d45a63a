"""Vision-language models of random weights in the transformers library's own form, small enough for a test."""

from pathlib import Path

import torch
from tokenizers import decoders
from transformers import (
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessor,
    Idefics3Processor,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)

from .small_models import tokenizer

POSITIONS = 1024
TEXT = {
    "hidden_size": 24,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": POSITIONS,
    "initializer_range": 0.3,
    "tie_word_embeddings": True,
}
IDEFICS3_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] | capitalize }}:"
    "{% if message['content'][0]['type'] != 'image' %} {% endif %}"
    "{% for part in message['content'] %}{{ part['text'] if part['type'] == 'text' else '<image>' }}{% endfor %}"
    "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)
QWEN_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for part in message['content'] %}"
    "{{ part['text'] if part['type'] == 'text' else '<|vision_start|><|image_pad|><|vision_end|>' }}{% endfor %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def save_idefics3(folder: Path, *, template: str | None = IDEFICS3_TEMPLATE) -> Path:
    """Write a model of the architecture of SmolVLM, which reads an image as 4 tokens and 4 marks."""
    torch.manual_seed(1)
    fast = tokenizer()
    fast.backend_tokenizer.decoder = decoders.WordPiece()
    tiles = [f"<row_{row}_col_{column}>" for row in (1, 2) for column in (1, 2)]
    fast.add_special_tokens({"eos_token": "<end_of_utterance>"})
    fast.add_special_tokens(
        {"additional_special_tokens": ["<fake_token_around_image>", "<image>", "<global-img>", *tiles]}
    )
    marks = {"pad_token_id": fast.pad_token_id, "eos_token_id": fast.eos_token_id, "bos_token_id": fast.cls_token_id}
    config = Idefics3Config(
        text_config={"model_type": "llama", "vocab_size": len(fast), **TEXT, **marks},
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 8,
            "initializer_range": 0.3,
        },
        scale_factor=2,
        image_token_id=fast.convert_tokens_to_ids("<image>"),
        **marks,
    )
    Idefics3ForConditionalGeneration(config).save_pretrained(folder)
    images = Idefics3ImageProcessor(size={"longest_edge": 128}, max_image_size={"longest_edge": 32})
    Idefics3Processor(images, fast, image_seq_len=4, chat_template=template).save_pretrained(folder)
    return folder


def save_qwen_vl(folder: Path) -> Path:
    """Write a model of the architecture of Qwen2.5-VL, which reads an image of 16 x 16 pixels as one token."""
    torch.manual_seed(1)
    fast = tokenizer()
    fast.backend_tokenizer.decoder = decoders.WordPiece()
    fast.add_special_tokens({"eos_token": "<|im_end|>"})
    vision = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    fast.add_special_tokens({"additional_special_tokens": ["<|im_start|>", *vision]})
    ids = dict(zip(("start", "end", "image", "video"), fast.convert_tokens_to_ids(vision), strict=True))
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(fast),
            **TEXT,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 2, 2]},
            "pad_token_id": fast.pad_token_id,
            "eos_token_id": fast.eos_token_id,
        },
        vision_config={
            "depth": 2,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_heads": 2,
            "out_hidden_size": 24,
            "patch_size": 8,
            "window_size": 32,
            "fullatt_block_indexes": [1],
            "initializer_range": 0.3,
        },
        vision_start_token_id=ids["start"],
        vision_end_token_id=ids["end"],
        image_token_id=ids["image"],
        video_token_id=ids["video"],
        tie_word_embeddings=True,
    )
    Qwen2_5_VLForConditionalGeneration(config).save_pretrained(folder)
    Qwen2_5_VLProcessor(
        Qwen2VLImageProcessor(patch_size=8, size={"shortest_edge": 16**2, "longest_edge": 64**2}),
        fast,
        Qwen2VLVideoProcessor(patch_size=8),
        chat_template=QWEN_TEMPLATE,
    ).save_pretrained(folder)
    return folder


MODELS = {"idefics3": save_idefics3, "qwen2.5-vl": save_qwen_vl}
