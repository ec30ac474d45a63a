"""Text-to-image pipelines of random weights in the diffusers library's own format, small enough for a test."""

import string
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import save_file
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

TOKENS = 77
"""Longest prompt of the tokenizers, whose tokens are letters."""
SIDE = 32
"""Side in pixels of the images that the pipelines generate; a latent has a quarter of it."""
CHANNELS = 8


def tokenizer() -> CLIPTokenizer:
    letters = [*string.ascii_lowercase, *string.digits, *".,'!?-:"]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=TOKENS)


def text_config(**given: Any) -> CLIPTextConfig:
    count = len(tokenizer())
    marks = {"vocab_size": count, "bos_token_id": count - 2, "eos_token_id": count - 1, "pad_token_id": count - 1}
    size = {"hidden_size": CHANNELS, "intermediate_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2}
    return CLIPTextConfig(**size | marks | {"max_position_embeddings": TOKENS, "projection_dim": CHANNELS} | given)


def autoencoder(**given: Any) -> AutoencoderKL:
    blocks = {"down_block_types": ["DownEncoderBlock2D"] * 3, "up_block_types": ["UpDecoderBlock2D"] * 3}
    return AutoencoderKL(
        **{"block_out_channels": [8] * 3, "norm_num_groups": 4, "latent_channels": 4, "sample_size": SIDE, **given},
        **blocks,
    )


def unet(**given: Any) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        **{
            "sample_size": SIDE // 4,
            "block_out_channels": (CHANNELS, 2 * CHANNELS),
            "layers_per_block": 1,
            "norm_num_groups": 4,
            "attention_head_dim": 4,
            "cross_attention_dim": CHANNELS,
            "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
            "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
            **given,
        }
    )


def scheduler(**given: Any) -> EulerDiscreteScheduler:
    """Make the scheduler of SD-Turbo."""
    noise = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    return EulerDiscreteScheduler(timestep_spacing="trailing", steps_offset=1, **noise, **given)


def save_sd(folder: Path, **given: Any) -> Path:
    """Write a pipeline of the class of SD-Turbo; `given` are options of its scheduler."""
    torch.manual_seed(0)
    StableDiffusionPipeline(
        vae=autoencoder(),
        text_encoder=CLIPTextModel(text_config()),
        tokenizer=tokenizer(),
        unet=unet(),
        scheduler=scheduler(**given),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


def save_sdxl(folder: Path) -> Path:
    """Write a pipeline of the class of SDXL-Turbo."""
    torch.manual_seed(0)
    added = {"addition_embed_type": "text_time", "addition_time_embed_dim": 2}
    StableDiffusionXLPipeline(
        vae=autoencoder(),
        text_encoder=CLIPTextModel(text_config()),
        text_encoder_2=CLIPTextModelWithProjection(text_config()),
        tokenizer=tokenizer(),
        tokenizer_2=tokenizer(),
        unet=unet(cross_attention_dim=2 * CHANNELS, projection_class_embeddings_input_dim=CHANNELS + 6 * 2, **added),
        scheduler=scheduler(),
        add_watermarker=False,
    ).save_pretrained(folder)
    return folder


def save_sd3(folder: Path) -> Path:
    """Write a pipeline of the class of Stable Diffusion 3 without its third text encoder."""
    torch.manual_seed(0)
    StableDiffusion3Pipeline(
        vae=autoencoder(use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.1),
        text_encoder=CLIPTextModelWithProjection(text_config()),
        text_encoder_2=CLIPTextModelWithProjection(text_config()),
        text_encoder_3=None,
        tokenizer=tokenizer(),
        tokenizer_2=tokenizer(),
        tokenizer_3=None,
        transformer=SD3Transformer2DModel(
            sample_size=SIDE // 4,
            patch_size=1,
            in_channels=4,
            out_channels=4,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=4 * CHANNELS,
            caption_projection_dim=16,
            pooled_projection_dim=2 * CHANNELS,
            pos_embed_max_size=16,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    ).save_pretrained(folder)
    return folder


PIPELINES = {"sd": save_sd, "sdxl": save_sdxl, "sd3": save_sd3}


def save_ip_adapter(folder: Path, unet: Any) -> Path:
    """Write an IP-Adapter for a network, and beside it the image encoder; return the adapter's file."""
    torch.manual_seed(0)
    vision = CLIPVisionConfig(
        hidden_size=8,
        intermediate_size=16,
        num_attention_heads=2,
        num_hidden_layers=1,
        image_size=16,
        patch_size=8,
        projection_dim=CHANNELS,
    )
    CLIPVisionModelWithProjection(vision).save_pretrained(folder / "image_encoder")
    width, tokens = unet.config.cross_attention_dim, 4
    weights = {
        "image_proj.proj.weight": torch.randn(tokens * width, CHANNELS),
        "image_proj.proj.bias": torch.zeros(tokens * width),
        "image_proj.norm.weight": torch.ones(width),
        "image_proj.norm.bias": torch.zeros(width),
    }
    attentions = [module for name, module in unet.named_modules() if name.endswith("attn2")]
    for index, attention in enumerate(attentions):  # in the order of the network's attention processors
        for kind in ("k", "v"):
            shape = attention.to_k.weight.shape
            weights[f"ip_adapter.{2 * index + 1}.to_{kind}_ip.weight"] = torch.randn(shape) / width**0.5
    save_file(weights, folder / "adapter.safetensors")
    return folder / "adapter.safetensors"
