"""Requirements of the text encoders, which are also the source of their frozen halves: a model and its tokenizer."""

from __future__ import annotations

from pathlib import Path

from vsr_cli.api import FrozenSource, Requirement, local_files, missing_model

from . import DistilBertOptions, HfTextOptions


def requirements(options: HfTextOptions) -> list[Requirement]:
    """Return the missing files of model and tokenizer; for random weights, only its configuration."""
    own_structure = has_known_structure(options)
    files = [*([] if own_structure else ["config"]), *(["weights"] if options.weights == "pretrained" else [])]
    if options.tokenizer is None:
        return missing_model(options.model, option="text.model", files=[*files, "tokenizer"])
    found = missing_model(options.model, option="text.model", files=files) if files else []
    if not Path(options.tokenizer).expanduser().is_file():
        found += missing_model(options.tokenizer, option="text.tokenizer", files=["tokenizer"])
    return found


def frozen_source(options: HfTextOptions) -> FrozenSource | None:
    """Return the source of a model and its tokenizer; None if nothing is frozen, or they are not on this machine."""
    if options.frozen_layers == 0:
        return None
    sources = [*([] if has_known_structure(options) else [options.model]), options.tokenizer or options.model]
    files: list[Path] = []
    for source in dict.fromkeys(sources):
        path = Path(source).expanduser()
        found = [path] if path.is_file() else local_files(source)
        if found is None:
            return None
        files += found
    return FrozenSource(files=files, packages=["transformers", "tokenizers"], random=options.weights == "random")


def has_known_structure(options: HfTextOptions) -> bool:
    """Return whether the model is random in a structure that the library knows, so that none of its files is read."""
    return options.weights == "random" and options.model == DistilBertOptions.model_fields["model"].default
