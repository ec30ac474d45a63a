"""Requirements of the text encoders: a pretrained model and its tokenizer."""

from __future__ import annotations

from pathlib import Path

from vsr_cli.api import Requirement, missing_model

from . import DistilBertOptions, HfTextOptions


def requirements(options: HfTextOptions) -> list[Requirement]:
    """Return the missing files of model and tokenizer; for random weights, only its configuration."""
    own_structure = options.weights == "random" and options.model == DistilBertOptions.model_fields["model"].default
    files = [*([] if own_structure else ["config"]), *(["weights"] if options.weights == "pretrained" else [])]
    if options.tokenizer is None:
        return missing_model(options.model, option="text.model", files=[*files, "tokenizer"])
    found = missing_model(options.model, option="text.model", files=files) if files else []
    if not Path(options.tokenizer).expanduser().is_file():
        found += missing_model(options.tokenizer, option="text.tokenizer", files=["tokenizer"])
    return found
