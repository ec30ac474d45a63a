"""Visual encoder `hf-vision`: vision models of transformers, and the image encoders of CLIP-like models."""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from vsr_cli.api import (
    BuildContext,
    VsrError,
    cache_if_unreachable,
    one_line,
    own_random_numbers,
    quiet,
    refuse_foreign_code,
    refuse_missing_tensors,
    refuse_weights,
)

from ..saved_config import config_from, facts_of_config
from . import HfVisionOptions
from .preprocessing import FILE, Preprocessing
from .pretrained import PretrainedEncoder
from .weights import UNREADABLE

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

CONFIG = "config.json"
CLASS_TOKENS = ("cls_token", "class_embedding")
OTHER_TOKENS = ("register_tokens", "distillation_token")
"""Names of the tokens that come before the patches."""
RESAMPLING = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
"""Pillow's constants."""


class PooledVision(nn.Module):
    """A vision model reduced to one vector per image."""

    def __init__(self, model: nn.Module, *, pooling: str) -> None:
        super().__init__()
        self.model = model
        self.pooling = pooling
        tokens = [parameter for name, parameter in model.named_parameters() if name.endswith(CLASS_TOKENS)]
        self.has_class_token = bool(tokens)
        tokens += [parameter for name, parameter in model.named_parameters() if name.endswith(OTHER_TOKENS)]
        self.before_patches = sum(token.numel() // token.shape[-1] for token in tokens)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return (N, H) from pixels (N, 3, size, size)."""
        output = self.model(pixel_values=pixels)
        if self.pooling == "pooler":
            pooled: Tensor = output.pooler_output
            return pooled.flatten(1)  # (N, H) or (N, H, 1, 1) -> (N, H)
        states: Tensor = output.last_hidden_state
        if self.pooling == "cls":
            return states[:, 0]  # (N, P, H) -> (N, H)
        if states.ndim == 4:
            return states.mean((2, 3))  # (N, H, h, w) -> (N, H)
        return states[:, self.before_patches :].mean(1)  # (N, P, H) -> (N, H)


def build(options: HfVisionOptions, context: BuildContext) -> PretrainedEncoder:
    """Build the encoder from a Hub id or folder, or its architecture from the assets of a run.

    Raises VsrError if loading the model or its preprocessing fails, or if it does not support the pooling.
    """
    preprocessing = Preprocessing.load(context.assets)
    if context.assets is not None:
        if preprocessing is None:
            raise VsrError(
                f"{context.assets / FILE}: file not found, and the visual encoder of the run needs it; "
                "restore it, or train again"
            )
        refuse_foreign_code(context.assets)
        text = (context.assets / CONFIG).read_text(encoding="utf-8")
        make = partial(rebuild_network, text, pooling=options.pooling)
        # The facts are for a cache key, which a stored half has.
        facts = {} if context.frozen_half else facts_of_config(config_from(text))
        return _encoder(make, preprocessing, facts, saved=text, options=options, context=context)
    from transformers import AutoImageProcessor

    try:
        with (
            quiet(below=logging.CRITICAL),
            cache_if_unreachable(options.model),
            own_random_numbers(context.seed),
        ):
            refuse_foreign_code(options.model)
            config, model = load_model(options)
            processor = cast(Any, AutoImageProcessor).from_pretrained(options.model, trust_remote_code=False)
    except UNREADABLE as error:
        raise VsrError(
            f"visual encoder hf-vision: cannot load {options.model} ({one_line(error)}); name a folder with a "
            "vision model in safetensors and a preprocessor_config.json by --set visual.model=FOLDER, or "
            "set HF_HOME to a cache that has it"
        ) from error
    preprocessing = preprocessing_of(processor, options=options)
    network = pooled(model, pooling=options.pooling)
    if options.pooling == "cls" and not network.has_class_token:
        raise VsrError(
            f"visual encoder hf-vision: {options.model} has no class token ({config.model_type}); "
            "set visual.pooling to pooler or mean"
        )
    facts = facts_of_config(config)
    return _encoder(lambda: network, preprocessing, facts, saved=json.dumps(facts), options=options, context=context)


def _encoder(
    make: Callable[[], nn.Module],
    preprocessing: Preprocessing,
    facts: Mapping[str, Any],
    *,
    saved: str,
    options: HfVisionOptions,
    context: BuildContext,
) -> PretrainedEncoder:
    return PretrainedEncoder(
        make,
        preprocessing,
        structure={"config": facts, "pooling": options.pooling},
        options=options,
        context=context,
        assets={CONFIG: saved},
    )


def rebuild_network(config: str, *, pooling: str) -> PooledVision:
    """Build the network of a run without its weights, from the text of its configuration."""
    return pooled(from_config(config_from(config)), pooling=pooling)


def pooled(model: nn.Module, *, pooling: str) -> PooledVision:
    """Reduce a vision model to one vector per image."""
    return PooledVision(without_pooler(model) if pooling != "pooler" else model, pooling=pooling)


def load_model(options: HfVisionOptions) -> tuple[PreTrainedConfig, nn.Module]:
    """Load the vision model and its configuration; errors are those of the transformers library, or VsrError."""
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.from_pretrained(options.model, trust_remote_code=False)
    config = getattr(config, "vision_config", config)  # of CLIP-like models
    if options.weights == "random":
        return config, from_config(config)
    model, report = AutoModel.from_pretrained(
        options.model,
        config=config,
        dtype=torch.float32,
        use_safetensors=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
    missing = [name for name in report["missing_keys"] if not name.startswith("pooler.")]
    refuse_missing_tensors("visual encoder hf-vision", options.model, missing, option="visual.model")
    refuse_weights("visual encoder hf-vision", options.model, model, report["unexpected_keys"], option="visual.model")
    if options.pooling == "pooler" and report["missing_keys"]:
        raise VsrError(
            f"visual encoder hf-vision: {options.model} lacks the weights of its pooler; "
            "set visual.pooling to cls or mean"
        )
    return config, model


def from_config(config: PreTrainedConfig) -> nn.Module:
    """Build a vision model with random weights."""
    from transformers import AutoModel

    return cast(nn.Module, AutoModel.from_config(config, trust_remote_code=False))  # type: ignore[no-untyped-call]


def without_pooler(model: Any) -> nn.Module:
    """Remove the pooling layer of the model, if it is optional."""
    if "add_pooling_layer" in inspect.signature(type(model).__init__).parameters:
        model.pooler = None  # as if built with add_pooling_layer=False
    return cast(nn.Module, model)


def preprocessing_of(processor: Any, *, options: HfVisionOptions) -> Preprocessing:
    """Return the preprocessing from the image processor of a model. Raises VsrError if its input is not square."""
    resized, cut = (side(processor, name) for name in ("size", "crop_size"))
    if not getattr(processor, "do_center_crop", False):
        cut = None
    size = cut or resized
    if size is None:
        raise VsrError(
            f"visual encoder hf-vision: {options.model} has no square input size "
            f"(got {processor.size}); choose another model"
        )
    plain = not processor.do_normalize
    return Preprocessing(
        size=size,
        resize=max(size, resized or size) if options.crop else size,
        mean=(0.0,) * 3 if plain else tuple(processor.image_mean),
        std=(1.0,) * 3 if plain else tuple(processor.image_std),
        interpolation=RESAMPLING[int(processor.resample)],
    )


def side(processor: Any, name: str) -> int | None:
    """Return the side of a square size of a processor, or None if it is not square."""
    sizes = dict(getattr(processor, name, None) or {})
    sides = {sizes[key] for key in ("shortest_edge", "height", "width") if sizes.get(key)}
    return int(sides.pop()) if len(sides) == 1 else None
