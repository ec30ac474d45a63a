"""Getting a pretrained encoder and its tokenizer from a folder or the hub."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from vsr_cli.api import Vocabulary, VsrError

from . import DistilBertOptions, HfTextOptions
from .vocabulary import find_vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

UNLOADABLE = (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError)
"""What the libraries raise at a missing, broken or unknown model, or where there is no network."""


def load_pretrained(options: HfTextOptions) -> tuple[PreTrainedModel, Vocabulary]:
    """Load the model, pretrained or of random weights, and its vocabulary.

    Raises VsrError if one of them cannot be had, or if the file lacks some of the model's weights.
    """
    with quiet():
        try:
            model = load_model(options)
        except UNLOADABLE as error:
            raise VsrError(
                f"text encoder: cannot load {options.model} ({one_line(error)}); give the folder of a model with "
                "safetensors weights by --set text.model=FOLDER, or let HF_HOME name a cache that holds it"
            ) from error
        place = options.tokenizer or options.model
        try:
            vocabulary = find_vocabulary(place)
        except UNLOADABLE as error:
            raise VsrError(
                f"text encoder: cannot load the tokenizer of {place} ({one_line(error)}); give a folder or "
                "tokenizer.json by --set text.tokenizer=FILE, or let HF_HOME name a cache that holds it"
            ) from error
    return model, vocabulary


def load_model(options: HfTextOptions) -> PreTrainedModel:
    """Load the encoder without its pooler; errors are those of the transformers library, or VsrError."""
    from transformers import AutoConfig, AutoModel, DistilBertConfig

    if options.weights == "random":
        known = options.model == DistilBertOptions.model_fields["model"].default
        # The library's defaults are that model's own configuration, so that nothing need be fetched.
        return from_config(
            DistilBertConfig() if known else AutoConfig.from_pretrained(options.model, trust_remote_code=False)
        )
    model, report = AutoModel.from_pretrained(
        options.model, use_safetensors=True, trust_remote_code=False, output_loading_info=True
    )
    missing = sorted(name for name in report["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise VsrError(
            f"text encoder: {options.model} lacks weights of its own model ({len(missing)} tensors, "
            f"the first is {missing[0]}); give a complete model by --set text.model=FOLDER"
        )
    return without_pooler(model)


def from_config(config: PreTrainedConfig) -> PreTrainedModel:
    """Build an encoder of random weights."""
    from transformers import AutoModel

    return without_pooler(AutoModel.from_config(config, trust_remote_code=False))  # type: ignore[no-untyped-call]


def without_pooler(model: Any) -> PreTrainedModel:
    """Drop the layer for next-sentence prediction, which nothing here reads, where a model has one."""
    if "add_pooling_layer" in inspect.signature(type(model).__init__).parameters:
        model.pooler = None  # what the model itself has if it is built without one
    encoder: PreTrainedModel = model
    return encoder


def one_line(error: Exception) -> str:
    """Give the first line of an error's message, or its kind where it has none."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' progress bars and warnings off the terminal: what matters here is raised."""
    from huggingface_hub.utils import logging as hub_logging
    from transformers.utils import logging as transformers_logging

    level, hub_level = transformers_logging.get_verbosity(), hub_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.ERROR)
    hub_logging.set_verbosity(logging.ERROR)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        hub_logging.set_verbosity(hub_level)
        if bars:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]
