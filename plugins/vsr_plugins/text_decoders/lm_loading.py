"""Load the language model of the text decoder `lm`, from the Hub, a folder or a run's assets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from tokenizers import Tokenizer

from vsr_cli.api import (
    Requirement,
    Vocabulary,
    VsrError,
    missing_model,
    missing_package,
    one_line,
    quiet,
    refuse_foreign_code,
)

from . import LmOptions

if TYPE_CHECKING:
    from transformers import PreTrainedModel

UNLOADABLE = (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError)
"""Errors of the libraries for a missing, broken or unknown model, or without a network."""
TOKENIZER = "tokenizer.json"
SPECIAL_IDS = "special_ids.json"


def requirements(options: LmOptions) -> list[Requirement]:
    """Return the missing packages and files: peft for LoRA, the model and its tokenizer."""
    files = ["config", "tokenizer", *(["weights"] if options.weights == "pretrained" else [])]
    packages = missing_package("peft", extra="lora") if options.trained == "lora" else []
    return [*packages, *missing_model(options.model, option="text_decoder.model", files=files)]


def load(options: LmOptions) -> tuple[PreTrainedModel, Vocabulary]:
    """Load the model, pretrained or of random weights, and its vocabulary. Raises VsrError if that fails."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    with quiet():
        refuse_foreign_code(options.model)
        try:
            if options.weights == "random":
                config = AutoConfig.from_pretrained(options.model, trust_remote_code=False)
                model, missing = _from_config(config), []
            else:
                loaded: Any = AutoModelForCausalLM.from_pretrained(
                    options.model,
                    dtype=torch.float32,
                    use_safetensors=True,
                    trust_remote_code=False,
                    output_loading_info=True,
                )
                model, missing = loaded[0], sorted(loaded[1]["missing_keys"])
            tokenizer = AutoTokenizer.from_pretrained(options.model, trust_remote_code=False)
        except UNLOADABLE as error:
            raise VsrError(
                f"text decoder lm: cannot load {options.model} ({one_line(error)}); name a folder with a "
                "causal language model in safetensors and its tokenizer by --set text_decoder.model=FOLDER, or set "
                "HF_HOME to a cache that holds it"
            ) from error
    if missing:
        raise VsrError(
            f"text decoder lm: {options.model} lacks {len(missing)} tensors, such as {missing[0]}; "
            f"choose a complete model by --set text_decoder.model=FOLDER"
        )
    return model, _vocabulary(tokenizer, options.model)


def _vocabulary(tokenizer: Any, place: str) -> Vocabulary:
    """Return the vocabulary of a tokenizer; eos stands for bos and padding if it has none."""
    backend, end = getattr(tokenizer, "backend_tokenizer", None), tokenizer.eos_token_id
    if backend is None or end is None:
        raise VsrError(
            f"text decoder lm: the tokenizer of {place} has no eos token or is a slow (Python) one; choose "
            "another model by --set text_decoder.model=..."
        )
    first, padding = tokenizer.bos_token_id, tokenizer.pad_token_id
    return Vocabulary(
        tokenizer=backend, pad=end if padding is None else padding, bos=end if first is None else first, eos=end
    )


def read_assets(folder: Path) -> tuple[PreTrainedModel, Vocabulary]:
    """Build the architecture of a run's model and read its vocabulary, as saved by `write_assets`."""
    from transformers import AutoConfig

    ids = json.loads((folder / SPECIAL_IDS).read_text(encoding="utf-8"))
    vocabulary = Vocabulary(tokenizer=Tokenizer.from_file(str(folder / TOKENIZER)), **ids)
    refuse_foreign_code(folder)
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    return _from_config(config), vocabulary


def _from_config(config: Any) -> PreTrainedModel:
    """Build a model with random weights."""
    from transformers import AutoModelForCausalLM

    model: PreTrainedModel = AutoModelForCausalLM.from_config(config, trust_remote_code=False)  # type: ignore[no-untyped-call]
    return model


def write_assets(folder: Path, model: Any, vocabulary: Vocabulary) -> None:
    """Write the model's configuration and its vocabulary."""
    model.config.save_pretrained(folder)
    vocabulary.save(folder / TOKENIZER)
    ids = {"pad": vocabulary.pad, "bos": vocabulary.bos, "eos": vocabulary.eos}
    (folder / SPECIAL_IDS).write_text(json.dumps(ids) + "\n", encoding="utf-8")
