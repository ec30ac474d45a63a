"""What the language model needs before it is built: itself, its tokenizer, and a library for low-rank updates."""

from __future__ import annotations

from vsr_cli.api import Requirement, missing_model, missing_package

from . import LmDecoderOptions


def missing(options: LmDecoderOptions) -> list[Requirement]:
    """Return what is not here yet."""
    files = ["config", "tokenizer", *(["weights"] if options.weights == "pretrained" else [])]
    packages = missing_package("peft", extra="lora") if options.trained == "lora" else []
    return [*packages, *missing_model(options.model, option="text_decoder.model", files=files)]
