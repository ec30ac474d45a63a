"""Getting a pretrained encoder and its tokenizer from a folder or the hub."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, cast

from safetensors import SafetensorError

from vsr_cli.api import Vocabulary, VsrError, one_line, quiet, refuse_foreign_code

from . import DistilBertOptions, HfTextOptions
from .reading import SIGLIPS, Reading, find_reading
from .vocabulary import find_vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

UNLOADABLE = (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError)
"""What the libraries raise at a missing, broken or unknown model, or where there is no network."""
POOLERS = ("pooler.", "head.")
"""Layers over one state, for a model's own task."""


def load_pretrained(options: HfTextOptions) -> tuple[PreTrainedModel, Vocabulary, Reading]:
    """Load the model, pretrained or of random weights, its vocabulary, and how it is to be read.

    Raises VsrError if one of them cannot be had, or if the file lacks some of the model's weights.
    """
    place = options.tokenizer or options.model
    with quiet():
        for source in dict.fromkeys((options.model, place)):
            refuse_foreign_code(source)
        try:
            model = load_model(options)
        except UNLOADABLE as error:
            raise VsrError(
                f"text encoder: cannot load {options.model} ({one_line(error)}); give the folder of a model with "
                "safetensors weights by --set text.model=FOLDER, or let HF_HOME name a cache that holds it"
            ) from error
        try:
            vocabulary = find_vocabulary(place)
        except UNLOADABLE as error:
            raise VsrError(
                f"text encoder: cannot load the tokenizer of {place} ({one_line(error)}); give a folder or "
                "tokenizer.json by --set text.tokenizer=FILE, or let HF_HOME name a cache that holds it"
            ) from error
        reading = find_reading(options, cast(Any, model.config))
    return model, vocabulary, reading


def load_model(options: HfTextOptions) -> PreTrainedModel:
    """Load the encoder without its pooler; errors are those of the transformers library, or VsrError."""
    from transformers import AutoConfig, DistilBertConfig

    if options.weights == "random":
        known = options.model == DistilBertOptions.model_fields["model"].default
        # The library's defaults are that model's own configuration, so that nothing need be fetched.
        return from_config(
            DistilBertConfig()
            if known
            else text_half(AutoConfig.from_pretrained(options.model, trust_remote_code=False))
        )
    config = text_half(AutoConfig.from_pretrained(options.model, trust_remote_code=False))
    model, report = class_of(config).from_pretrained(
        options.model,
        config=config,
        dtype="float32",
        use_safetensors=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
    missing = sorted(name for name in report["missing_keys"] if not name.startswith(POOLERS))
    if missing:
        raise VsrError(
            f"text encoder: {options.model} lacks weights of its own model ({len(missing)} tensors, "
            f"the first is {missing[0]}); give a complete model by --set text.model=FOLDER"
        )
    return without_pooler(model)


def text_half(config: Any) -> PreTrainedConfig:
    """Return the configuration of the text half of a model of images and texts; any other is its own."""
    half: PreTrainedConfig = config.text_config if hasattr(config, "vision_config") else config
    return half


def class_of(config: PreTrainedConfig) -> Any:
    """Return the class that loads a model of this configuration."""
    from transformers import AutoModel, Siglip2TextModel, SiglipTextModel

    unlisted = {"siglip_text_model": SiglipTextModel, "siglip2_text_model": Siglip2TextModel}
    return unlisted.get(config.model_type, AutoModel)


def from_config(config: PreTrainedConfig) -> PreTrainedModel:
    """Build an encoder of random weights."""
    loader = class_of(config)
    if hasattr(loader, "from_config"):
        return without_pooler(loader.from_config(config, trust_remote_code=False))
    return without_pooler(loader(config))


def without_pooler(model: Any) -> PreTrainedModel:
    """Drop the layer over one state that a model has for its own task, which nothing here reads."""
    from torch import nn

    if "add_pooling_layer" in inspect.signature(type(model).__init__).parameters:
        model.pooler = None  # what the model itself has if it is built without one
    if model.config.model_type in SIGLIPS:
        model.head = nn.Identity()
    encoder: PreTrainedModel = model
    return encoder
