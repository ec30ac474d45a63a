"""Load the vision-language model of the text decoder `vlm` and its processor, from the Hub, a folder or assets."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vsr_cli.api import (
    Requirement,
    VsrError,
    cache_if_unreachable,
    missing_model,
    missing_package,
    one_line,
    quiet,
    refuse_broken_settings,
    refuse_foreign_code,
    refuse_missing_tensors,
    refuse_weights,
)

from ..library_errors import UNLOADABLE
from . import VlmOptions

if TYPE_CHECKING:
    import torch


def requirements(options: VlmOptions) -> list[Requirement]:
    """Return the missing packages and files: peft for LoRA, the model, its tokenizer and its image processor."""
    files = ["config", "tokenizer", "preprocessor", *(["weights"] if options.weights == "pretrained" else [])]
    packages = missing_package("peft") if options.trained == "lora" else []
    return [*packages, *missing_model(options.model, option="text_decoder.model", files=files)]


def load(options: VlmOptions, *, image_size: int) -> tuple[Any, Any]:
    """Load the model, pretrained or of random weights, and its processor, which resizes images to `image_size`.

    Raises VsrError if one of them cannot be loaded, or the model is no vision-language model.
    """
    from transformers import AutoConfig, AutoModelForImageTextToText

    with quiet(), cache_if_unreachable(options.model):
        refuse_foreign_code(options.model)
        refuse_broken_settings("text decoder vlm", options.model, option="text_decoder.model")
        try:
            config = AutoConfig.from_pretrained(options.model, trust_remote_code=False)
            _check_architecture(config, options.model)
            if options.weights == "random":
                config.dtype = _dtype(options)
                model, missing, unread = _from_config(config), [], []
            else:
                loaded: Any = AutoModelForImageTextToText.from_pretrained(
                    options.model,
                    dtype=_dtype(options),
                    use_safetensors=True,
                    trust_remote_code=False,
                    output_loading_info=True,
                )
                model, missing, unread = loaded[0], loaded[1]["missing_keys"], loaded[1]["unexpected_keys"]
            processor = _processor(options.model)
        except UNLOADABLE as error:
            raise VsrError(
                f"text decoder vlm: cannot load {options.model} ({one_line(error)}); name a folder with a "
                "vision-language model in safetensors and its processor by --set text_decoder.model=FOLDER, or set "
                "HF_HOME to a cache that holds it"
            ) from error
    refuse_missing_tensors("text decoder vlm", options.model, missing, option="text_decoder.model")
    refuse_weights("text decoder vlm", options.model, model, unread, option="text_decoder.model")
    _resize_images(processor.image_processor, options, image_size=image_size)
    return model, processor


def _dtype(options: VlmOptions) -> torch.dtype:
    """Return the type of the weights. A model that trains as a whole needs fp32 for small updates."""
    import torch

    fits = options.trained != "all" and torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return torch.bfloat16 if options.dtype == "bf16" or (options.dtype == "auto" and fits) else torch.float32


def _check_architecture(config: Any, place: str) -> None:
    from transformers import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

    models: Any = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
    # A loss over a few positions of a long conversation needs `logits_to_keep`.
    forward = models[type(config)].forward if type(config) in models else None
    if (
        forward is None
        or config.is_encoder_decoder
        or "logits_to_keep" not in inspect.signature(inspect.unwrap(forward)).parameters
    ):
        raise VsrError(
            f"text decoder vlm: {place} is of the architecture {config.model_type}, which does not continue "
            "conversations of images and texts in transformers; choose another by --set text_decoder.model=..., e.g. "
            "HuggingFaceTB/SmolVLM-256M-Instruct or Qwen/Qwen2.5-VL-3B-Instruct"
        )


def _processor(place: str | Path, **options: Any) -> Any:
    """Return the processor. Raises VsrError if it has no tokenizer or no image processor."""
    from transformers import AutoProcessor

    processor: Any = AutoProcessor.from_pretrained(place, trust_remote_code=False, **options)  # type: ignore[no-untyped-call]
    tokenizer = getattr(processor, "tokenizer", None)
    if tokenizer is None or getattr(processor, "image_processor", None) is None:
        raise VsrError(
            f"text decoder vlm: {place} has no processor for both images and texts (got {type(processor).__name__}); "
            "save one into that folder with its save_pretrained, or choose another by --set text_decoder.model=FOLDER"
        )
    if getattr(tokenizer, "backend_tokenizer", None) is None or tokenizer.eos_token_id is None:
        raise VsrError(
            f"text decoder vlm: the tokenizer of {place} has no eos token or is a slow (Python) one; choose "
            "another model by --set text_decoder.model=..."
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return processor


def _resize_images(image_processor: Any, options: VlmOptions, *, image_size: int) -> None:
    """Set the size to which an image processor resizes, where it has no fixed one.

    Qwen-VL's have a range of areas in pixels, Idefics3's and SmolVLM's a longest edge, above which they divide images.
    """
    side, kind, size = options.image_size or image_size, type(image_processor.size), dict(image_processor.size)
    if size.get("longest_edge") and hasattr(image_processor, "merge_size"):
        image_processor.size = kind(**size | {"longest_edge": max(side**2, size["shortest_edge"])})
    elif size.get("longest_edge") and not size.get("shortest_edge"):
        image_processor.size = kind(**size | {"longest_edge": side})
    elif options.image_size:
        raise VsrError(
            f"text_decoder.image_size: the image processor of {options.model} has a fixed size "
            f"({type(image_processor).__name__}); leave the option out"
        )


def read_assets(folder: Path) -> tuple[Any, Any]:
    """Build the architecture of a run's model, whose weights are loaded later, and read its processor."""
    from transformers import AutoConfig
    from transformers.initialization import no_init_weights

    refuse_foreign_code(folder)
    with quiet():
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        with no_init_weights():
            model = _from_config(config)
        return model, _processor(folder, local_files_only=True)


def _from_config(config: Any) -> Any:
    """Build a model in the type of the configuration."""
    from transformers import AutoModelForImageTextToText

    return AutoModelForImageTextToText.from_config(config, trust_remote_code=False)  # type: ignore[no-untyped-call]


def write_assets(folder: Path, model: Any, processor: Any) -> None:
    """Write the model's configuration, and its processor with tokenizer and chat template."""
    with quiet():
        model.config.save_pretrained(folder)
        processor.save_pretrained(folder)
