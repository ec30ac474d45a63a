"""Stories in memory and models of random weights at true sizes, for `gpu.py`: nothing is read or downloaded.

The folders have the formats of transformers and diffusers, so that `vsr` loads them as published ones. Weights are
made on the device and written as bfloat16.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from vsr_cli.data.prepared_types import Frames, Texts, Windows
from vsr_cli.data.shards import ArrayRows

CONTEXT, FRAMES_OF_A_STORY = 4, 12
"""Frames of a context, and of a story: eight windows."""
SPREAD = 0.02
"""Standard deviation of random weights."""


class RepeatedRows:
    """As many rows as asked for, of which a few are distinct: what is read has its true size, what is held has not."""

    def __init__(self, distinct: NDArray[Any], count: int) -> None:
        self._rows = ArrayRows(distinct)
        self._distinct, self._count = len(distinct), count

    def __len__(self) -> int:
        return self._count

    def gather(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        return self._rows.gather(rows % self._distinct)


@dataclass(frozen=True)
class SyntheticData:
    """What training reads of a prepared folder: noise for images, and texts of made-up words."""

    frames: Frames
    training: Windows

    def windows(self, split: str) -> Windows:
        return self.training

    def training_texts(self) -> Sequence[str]:
        return list(self.frames.texts)


def synthetic_data(windows: int, *, image_size: int, words: int, vocabulary: int) -> SyntheticData:
    """Return so many sliding windows over stories of twelve frames, each with an image and a text of its own."""
    random = np.random.default_rng(0)
    per_story = FRAMES_OF_A_STORY - CONTEXT
    stories = -(-windows // per_story)
    count = stories * FRAMES_OF_A_STORY
    numbers = random.integers(0, vocabulary, (count, words))
    texts = [" ".join(f"word{number}" for number in row) for row in numbers.tolist()]
    images = random.integers(0, 256, (min(256, count), image_size, image_size, 3), dtype=np.uint8)
    story = np.repeat(np.arange(stories), per_story)[:windows]
    starts = np.tile(np.arange(per_story), stories)[:windows]
    rows = (story * FRAMES_OF_A_STORY + starts)[:, None] + np.arange(CONTEXT + 1)  # (W, K + 1)
    names = [f"story-{number}" for number in story.tolist()]
    frames = Frames(RepeatedRows(images, count), Texts(pa.chunked_array([texts])))  # as in a prepared folder
    return SyntheticData(frames, Windows(names, rows, rows, np.zeros(rows.shape, np.bool_), starts))


def write_language_model(folder: Path, tokenizer: Path, device: torch.device, **config: Any) -> Path:
    """Write a causal language model of the architecture of SmolLM2."""
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    marks = {"pad_token": "[PAD]", "unk_token": "[UNK]", "bos_token": "[CLS]", "eos_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_file=str(tokenizer), **marks).save_pretrained(folder)
    options = LlamaConfig(
        tie_word_embeddings=True, max_position_embeddings=8192, bos_token_id=101, eos_token_id=102, **config
    )
    options.architectures, options.dtype = ["LlamaForCausalLM"], torch.bfloat16
    options.save_pretrained(folder)
    with torch.device("meta"):
        model = LlamaForCausalLM(options)
    _write(model, folder / "model.safetensors", device, without=("lm_head.",))
    return folder


def write_vision_model(folder: Path, *, side: int, **config: Any) -> Path:
    """Write the configuration of a DINOv2 that reads images of this side, whose weights `vsr` makes."""
    from transformers import BitImageProcessor, Dinov2Config

    Dinov2Config(architectures=["Dinov2Model"], **config).save_pretrained(folder)
    BitImageProcessor(size={"shortest_edge": side}, crop_size={"height": side, "width": side}).save_pretrained(folder)
    return folder


def write_text_model(folder: Path, **config: Any) -> Path:
    """Write the configuration of an MPNet, whose weights `vsr` makes."""
    from transformers import MPNetConfig

    MPNetConfig(architectures=["MPNetModel"], **config).save_pretrained(folder)
    return folder


def write_pipeline(
    folder: Path, device: torch.device, *, unet: dict[str, Any], vae: dict[str, Any], text: dict[str, Any]
) -> Path:
    """Write a text-to-image pipeline of the architecture of SD-Turbo."""
    import string

    import diffusers
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    letters = [*string.ascii_lowercase, *string.digits, *".,'!?-:"]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    made = {token: index for index, token in enumerate(tokens)}
    CLIPTokenizer(vocab=made, merges=[], model_max_length=77).save_pretrained(folder / "tokenizer")
    diffusers.EulerDiscreteScheduler(
        timestep_spacing="trailing",
        steps_offset=1,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
    ).save_pretrained(folder / "scheduler")
    ends = {"bos_token_id": len(tokens) - 2, "eos_token_id": len(tokens) - 1, "pad_token_id": len(tokens) - 1}
    words = CLIPTextConfig(max_position_embeddings=77, **{**text, **ends})
    words.architectures = ["CLIPTextModel"]
    with torch.device("meta"):
        parts = {
            "unet": diffusers.UNet2DConditionModel(**unet),
            "vae": diffusers.AutoencoderKL(**vae),
            "text_encoder": CLIPTextModel(words),
        }
    index: dict[str, Any] = {
        "_class_name": "StableDiffusionPipeline",
        "scheduler": ["diffusers", "EulerDiscreteScheduler"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
    }
    for name, part in parts.items():
        library = "transformers" if name == "text_encoder" else "diffusers"
        index[name] = [library, type(part).__name__]
        (folder / name).mkdir(parents=True, exist_ok=True)
        if library == "transformers":
            words.save_pretrained(folder / name)
        else:
            part.save_config(folder / name)
        file = "model.safetensors" if library == "transformers" else "diffusion_pytorch_model.safetensors"
        _write(part, folder / name / file, device)
    (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder


def _write(model: Any, path: Path, device: torch.device, *, without: tuple[str, ...] = ()) -> None:
    """Write random weights for a model on the meta device: normalizations do nothing at first, biases are 0."""
    made = torch.Generator(device).manual_seed(0)
    state = {}
    for name, tensor in model.state_dict().items():
        if name.startswith(without):
            continue
        if not tensor.is_floating_point():
            state[name] = torch.arange(tensor.numel()).view(tensor.shape).to(tensor.dtype)  # position ids
        elif tensor.dim() < 2:
            state[name] = torch.full(tensor.shape, float(name.endswith("weight")), dtype=torch.bfloat16)
        else:
            values = SPREAD * torch.randn(tensor.shape, generator=made, device=device)
            state[name] = values.bfloat16().cpu().contiguous()
    save_file(state, path, metadata={"format": "pt"})
