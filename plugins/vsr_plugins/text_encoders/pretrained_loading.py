"""Load a pretrained text encoder and its tokenizer from a folder or the Hub, and check the options against it."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, cast

from vsr_cli.api import (
    Vocabulary,
    VsrError,
    cache_if_unreachable,
    one_line,
    quiet,
    refuse_foreign_code,
    refuse_missing_tensors,
    refuse_weights,
)

from ..library_errors import UNLOADABLE
from . import DistilBertOptions, HfTextOptions
from .pretrained_reading import SIGLIPS, Reading, find_reading
from .pretrained_vocabulary import added_to, find_vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

LAYERS = {
    "bert": "encoder",
    "camembert": "encoder",
    "distilbert": "transformer",
    "electra": "encoder",
    "roberta": "encoder",
    "xlm-roberta": "encoder",
}
"""Model types that can be frozen in part, and the module with their `layer` list.

Their layers take states and an attention mask only, and the result is the states of the last layer.
"""
POOLERS = ("pooler.", "head.")
"""Task layers of a model, which are not used."""


def load_pretrained(options: HfTextOptions) -> tuple[PreTrainedModel, Vocabulary, Reading]:
    """Load the model, pretrained or with random weights, its vocabulary and its pooling.

    Raises VsrError if that fails, or if weights are missing.
    """
    place = options.tokenizer or options.model
    sources = [place] if _has_default_config(options) else list(dict.fromkeys((options.model, place)))
    with quiet(), cache_if_unreachable(*sources):
        for source in sources:
            refuse_foreign_code(source)
        try:
            model = load_model(options)
        except UNLOADABLE as error:
            raise VsrError(
                f"text encoder: cannot load {options.model} ({one_line(error)}); name a folder with a model in "
                "safetensors by --set text.model=FOLDER, or set HF_HOME to a cache that has it"
            ) from error
        try:
            vocabulary = find_vocabulary(place)
        except UNLOADABLE as error:
            raise VsrError(
                f"text encoder: cannot load the tokenizer of {place} ({one_line(error)}); name a folder or "
                "tokenizer.json by --set text.tokenizer=FILE, or set HF_HOME to a cache that has it"
            ) from error
        reading = find_reading(options, cast(Any, model.config))
    return model, vocabulary, reading


def load_model(options: HfTextOptions) -> PreTrainedModel:
    """Load the encoder without its pooler; errors are those of the transformers library, or VsrError."""
    from transformers import AutoConfig, DistilBertConfig

    if _has_default_config(options):
        return from_config(DistilBertConfig())
    config = text_config_of(AutoConfig.from_pretrained(options.model, trust_remote_code=False))
    if options.weights == "random":
        return from_config(config)
    model, report = class_of(config).from_pretrained(
        options.model,
        config=config,
        dtype="float32",
        use_safetensors=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
    missing = [name for name in report["missing_keys"] if not name.startswith(POOLERS)]
    refuse_missing_tensors("text encoder", options.model, missing, option="text.model")
    refuse_weights("text encoder", options.model, model, report["unexpected_keys"], option="text.model")
    return without_pooler(model)


def _has_default_config(options: HfTextOptions) -> bool:
    """Whether the library's defaults are the configuration of this model, whose weights are random: nothing is read."""
    return options.weights == "random" and options.model == DistilBertOptions.model_fields["model"].default


def text_config_of(config: Any) -> PreTrainedConfig:
    """Return the text configuration of a CLIP-like model, or the configuration itself."""
    half: PreTrainedConfig = config.text_config if hasattr(config, "vision_config") else config
    return half


def class_of(config: PreTrainedConfig) -> Any:
    """Return the class that loads a model of this configuration."""
    from transformers import AutoModel, Siglip2TextModel, SiglipTextModel

    unlisted = {"siglip_text_model": SiglipTextModel, "siglip2_text_model": Siglip2TextModel}
    return unlisted.get(config.model_type, AutoModel)


def from_config(config: PreTrainedConfig) -> PreTrainedModel:
    """Build an encoder with random weights."""
    loader = class_of(config)
    if hasattr(loader, "from_config"):
        return without_pooler(loader.from_config(config, trust_remote_code=False))
    return without_pooler(loader(config))


def without_pooler(model: Any) -> PreTrainedModel:
    """Remove the pooling layer or head of a model, which is not used."""
    from torch import nn

    if "add_pooling_layer" in inspect.signature(type(model).__init__).parameters:
        model.pooler = None  # as if built with add_pooling_layer=False
    if model.config.model_type in SIGLIPS:
        model.head = nn.Identity()
    encoder: PreTrainedModel = model
    return encoder


def longest_input(model: PreTrainedModel) -> int | None:
    """Return the longest input of a model in tokens; None if it has no limit."""
    from torch import nn

    embeddings = getattr(model, "embeddings", None)
    for name in ("position_embeddings", "position_embedding"):
        positions = getattr(embeddings, name, None)
        if isinstance(positions, nn.Embedding):
            # RoBERTa's positions start after the padding index.
            return positions.num_embeddings - (0 if positions.padding_idx is None else positions.padding_idx + 1)
    most: int | None = getattr(model.config, "max_position_embeddings", None)
    return most if most and most > 0 else None


def check(model: PreTrainedModel, vocabulary: Vocabulary, reading: Reading, *, options: HfTextOptions) -> None:
    """Raise VsrError if the options do not fit the model."""
    config = cast(Any, model.config)
    frozen = options.frozen_layers
    if config.is_encoder_decoder:
        raise VsrError(
            f"text encoder: {options.model} is not an encoder only ({config.model_type}); "
            "choose an encoder by --set text.model=..."
        )
    if frozen != "all" and frozen != 0 and config.model_type not in LAYERS:
        raise VsrError(
            f"text encoder: a model of type {config.model_type} cannot be frozen in part "
            f"(text.frozen_layers={frozen}); set text.frozen_layers=all or 0, "
            f"or choose one of {', '.join(LAYERS)}"
        )
    if frozen != "all" and not 0 <= frozen <= config.num_hidden_layers:
        raise VsrError(
            f"text encoder: cannot freeze {frozen} layers of {config.num_hidden_layers} "
            f"({options.model}); set text.frozen_layers to 0..{config.num_hidden_layers} or all"
        )
    if options.layers == "spread" and frozen not in ("all", 0):
        raise VsrError(
            "text encoder: text.layers=spread needs all layers frozen, or none "
            f"(got text.frozen_layers={frozen}); set text.frozen_layers to all or 0, or text.layers to "
            "last"
        )
    known = cast(Any, model.get_input_embeddings()).num_embeddings
    added = added_to(vocabulary)
    read = 1 + max(index for index in vocabulary.tokenizer.get_vocab().values() if index not in added)
    if read > known:
        raise VsrError(
            f"text encoder: the tokenizer has {read} tokens, the model {known} "
            f"({options.tokenizer or options.model}); choose its own tokenizer by --set text.tokenizer=FILE"
        )
    if frozen in ("all", 0, config.num_hidden_layers):
        return
    if added:
        raise VsrError(
            f"text encoder: partial freezing needs a tokenizer with padding and bos tokens "
            f"({options.tokenizer or options.model}); set text.frozen_layers=all or 0, or choose text.tokenizer=FILE"
        )
    longest = min(most for most in (options.length, reading.window, longest_input(model)) if most)
    if options.length > longest:
        raise VsrError(
            f"text encoder: {options.model} reads at most {longest} tokens (text.length={options.length}), and reads "
            f"longer texts in windows only with all layers frozen, or none; set text.length to {longest} or "
            "less, or text.frozen_layers to all"
        )
