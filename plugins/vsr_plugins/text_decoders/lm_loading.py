"""Load the language model of the text decoder `lm`, from the Hub, a folder, a GGUF file or a run's assets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer

from vsr_cli.api import (
    Requirement,
    Vocabulary,
    VsrError,
    cache_if_unreachable,
    missing_file,
    missing_model,
    missing_package,
    one_line,
    quiet,
    refuse_broken_settings,
    refuse_foreign_code,
    refuse_large_tokenizer,
    refuse_missing_tensors,
    refuse_weights,
)

from ..library_errors import UNLOADABLE
from . import LmOptions
from .chat_templates import TEMPLATE_ERRORS

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TOKENIZER = "tokenizer.json"
SPECIAL_TOKENS = "special_tokens.json"
SIZES_OF_GGUF = ("block_count", "embedding_length")
"""Keys of a GGUF file, after the architecture, that every model has."""
SEPARATORS = ("\n\n", "\n")
"""The first of these that is one token stands after each page of a story."""
BYTE_LEVEL_BREAK = "\u010a"
"""A line break in the names of tokens of a byte-level vocabulary."""
MARK = "\u241e"
"""Stands for the story in a rendered chat template; no text holds it."""


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A language model, and the tokens around the pages of a story."""

    model: PreTrainedModel
    vocabulary: Vocabulary
    name: str
    has_weights: bool
    """False for an architecture from a run's assets, whose weights are loaded later."""
    before: Sequence[int]
    """Tokens before the first page: what the tokenizer puts before every text, the prompt, the chat template."""
    after: Sequence[int]
    """Tokens after the last page: the chat template's."""
    separator: int
    """The token after the text of each page. Without a chat template it is the vocabulary's eos."""

    @property
    def line_break(self) -> str:
        """What separates the lines of a text: a space if the separator is a line break, which ends the text."""
        return " " if self.vocabulary.decode_tokens([self.separator]) == ["\n"] else "\n"

    @property
    def ending(self) -> str | None:
        """The line breaks that end a text; None if a special token does."""
        (end,) = self.vocabulary.decode_tokens([self.separator])
        return None if self.after or end not in SEPARATORS else end

    def breaks(self) -> list[int]:
        """Return the tokens other than the separator whose text holds an empty line, such as a full stop before it.

        If the separator is a line break, those that hold a line break; none if a special token ends a text.
        """
        vocabulary = self.vocabulary
        end = self.ending
        if end is None:
            return []
        known = vocabulary.tokenizer.get_vocab()
        with_break = [index for token, index in known.items() if "\n" in token or BYTE_LEVEL_BREAK in token]
        texts = zip(with_break, vocabulary.decode_tokens(with_break), strict=True)
        return sorted(index for index, text in texts if end in text and index != self.separator)


def requirements(options: LmOptions) -> list[Requirement]:
    """Return the missing packages and files: peft for LoRA, gguf for a GGUF file, the model and its tokenizer."""
    packages = missing_package("peft") if options.trained == "lora" else []
    return [*packages, *_missing_files(options)]


def _missing_files(options: LmOptions) -> list[Requirement]:
    several = gguf_files(options.model)
    if len(several) > 1:
        remedy = "name one of them by --set text_decoder.model=FILE"
        return [
            Requirement(what=f"the folder {options.model}", problem=f"holds {len(several)} GGUF files", remedy=remedy)
        ]
    if file := gguf_file(options.model):
        remedy = "name another by --set text_decoder.model=FILE"
        return [*missing_file(file, what="the GGUF file", remedy=remedy), *missing_package("gguf", extra="gguf")]
    files = ["config", "tokenizer", *(["weights"] if options.weights == "pretrained" else [])]
    return missing_model(options.model, option="text_decoder.model", files=files)


def gguf_file(model: str) -> Path | None:
    """Return the GGUF file that a path names: itself, or the only one of a folder that holds no other model."""
    files = gguf_files(model)
    return files[0] if len(files) == 1 else None


def gguf_files(model: str) -> list[Path]:
    """Return the GGUF file that a path names, or those of a folder that holds no other model."""
    path = Path(model).expanduser()
    if path.suffix == ".gguf":
        return [path]
    return sorted(path.glob("*.gguf")) if path.is_dir() and not (path / "config.json").exists() else []


def _check_gguf(file: Path) -> None:
    """Raise ValueError if a GGUF file does not say how large its model is: it would be built in a default size."""
    from gguf import GGUFReader

    fields = GGUFReader(file).fields
    architecture = fields["general.architecture"].contents()
    for name in SIZES_OF_GGUF:
        if f"{architecture}.{name}" not in fields:
            raise ValueError(f"{file.name} has no {architecture}.{name}")


def load(options: LmOptions) -> Loaded:
    """Load the model, pretrained or of random weights, and its tokenizer. Raises VsrError if that fails."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    name, source, extra = options.model, options.model, {}
    if file := gguf_file(name):
        source, extra = str(file.parent), {"gguf_file": file.name}
    # A GPU that computes in bfloat16 holds frozen weights in it; trained ones are single.
    half = options.trained != "all" and torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    dtype = torch.bfloat16 if half else torch.float32
    with quiet(), cache_if_unreachable(source):
        refuse_foreign_code(source)
        if Path(name).expanduser().exists():  # the library would take a default for a tokenizer that is not there
            for missing in _missing_files(options):
                raise VsrError(f"text decoder lm: {missing.what} {missing.problem}; {missing.remedy}")
            refuse_broken_settings("text decoder lm", source, option="text_decoder.model")
        try:
            if file:
                _check_gguf(file)
            if options.weights == "random":
                config = AutoConfig.from_pretrained(source, trust_remote_code=False, **extra)
                config.dtype = dtype
                model, lacking, unread = _from_config(config), [], []
            else:
                loaded: Any = AutoModelForCausalLM.from_pretrained(
                    source,
                    dtype=dtype,
                    use_safetensors=None if file else True,
                    trust_remote_code=False,
                    output_loading_info=True,
                    **extra,
                )
                model, lacking, unread = loaded[0], loaded[1]["missing_keys"], loaded[1]["unexpected_keys"]
            tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False, **extra)
            if file and hasattr(model.config, "quantization_config"):
                del model.config.quantization_config  # the weights have been dequantized
        except UNLOADABLE as error:
            raise VsrError(
                f"text decoder lm: cannot load {name} ({one_line(error)}); name a folder with a causal language model "
                "in safetensors and its tokenizer by --set text_decoder.model=FOLDER, or set HF_HOME to a cache that "
                "holds it"
            ) from error
    if (layers := model.config.get_text_config().num_hidden_layers) < 1:
        raise VsrError(
            f"text decoder lm: the config.json of {name} has num_hidden_layers {layers}; choose another model by --set "
            "text_decoder.model=FOLDER"
        )
    refuse_missing_tensors("text decoder lm", name, lacking, option="text_decoder.model")
    refuse_weights("text decoder lm", name, model, unread, option="text_decoder.model")
    vocabulary = _vocabulary(tokenizer, name)
    before, after, end = _around(tokenizer, options.prompt, name)
    refuse_large_tokenizer(
        "text decoder lm",
        name,
        largest=max([vocabulary.largest, *before, *after]),
        embeddings=model.get_input_embeddings().num_embeddings,  # type: ignore[arg-type]
        option="text_decoder.model",
    )
    encoded = {text: vocabulary.encode_text(text) for text in SEPARATORS}
    # Not the unknown token, which stands for a line break in some vocabularies.
    single = [ids[0] for text, ids in encoded.items() if len(ids) == 1 and vocabulary.decode_tokens(ids) == [text]]
    separator = single[0] if single else vocabulary.eos
    # Without a template, a text ends as the texts before it do, and as a paragraph does in what the model has read.
    vocabulary = replace(vocabulary, eos=end if after else separator)
    return Loaded(
        model=model,
        vocabulary=vocabulary,
        name=name,
        has_weights=True,
        before=before,
        after=after,
        separator=separator,
    )


def _around(tokenizer: Any, prompt: str, name: str) -> tuple[list[int], list[int], int]:
    """Return the tokens before and after the story, and the one that ends an answer.

    They are those of the chat template, if there is one and a prompt.
    """
    end: int = tokenizer.eos_token_id
    if not (prompt and tokenizer.chat_template):
        first = _first(tokenizer)
        return first + tokenizer.encode(prompt + SEPARATORS[0], add_special_tokens=False) if prompt else first, [], end
    message = {"role": "user", "content": f"{prompt}{SEPARATORS[0]}{MARK}"}
    answer = {"role": "assistant", "content": MARK}
    try:
        text: str = tokenizer.apply_chat_template([message], tokenize=False, add_generation_prompt=True)
        halves = text.split(MARK)
        if len(halves) != 2:
            raise ValueError("it does not contain the message once")
        closing = tokenizer.apply_chat_template([message, answer], tokenize=False).split(MARK)[-1]
    except TEMPLATE_ERRORS as error:
        raise VsrError(
            f"text decoder lm: the chat template of {name} cannot be used ({one_line(error)}); leave "
            "text_decoder.prompt empty, or choose another model"
        ) from error
    before, after, last = (tokenizer.encode(each, add_special_tokens=False) for each in (*halves, closing))
    if last and last[0] in tokenizer.added_tokens_decoder and tokenizer.added_tokens_decoder[last[0]].special:
        end = last[0]
    return before, after, end


def _first(tokenizer: Any) -> list[int]:
    """Return the tokens that the tokenizer puts before every text, such as bos."""
    plain, whole = (tokenizer.encode("a", add_special_tokens=special) for special in (False, True))
    return list(whole[: whole.index(plain[0])]) if plain and plain[0] in whole else []


def _vocabulary(tokenizer: Any, name: str) -> Vocabulary:
    """Return the vocabulary of a tokenizer; eos stands for bos and padding if it has none."""
    backend, end = getattr(tokenizer, "backend_tokenizer", None), tokenizer.eos_token_id
    if backend is None or end is None:
        raise VsrError(
            f"text decoder lm: the tokenizer of {name} has no eos token or is a slow (Python) one; choose "
            "another model by --set text_decoder.model=..."
        )
    first, padding = tokenizer.bos_token_id, tokenizer.pad_token_id
    return Vocabulary(
        tokenizer=backend, pad=end if padding is None else padding, bos=end if first is None else first, eos=end
    )


def read_assets(folder: Path) -> Loaded:
    """Build the architecture of a run's model and read its vocabulary, as saved by `write_assets`."""
    from transformers import AutoConfig
    from transformers.initialization import no_init_weights

    stored = json.loads((folder / SPECIAL_TOKENS).read_text(encoding="utf-8"))
    ids = {name: stored.pop(name) for name in ("pad", "bos", "eos")}
    vocabulary = Vocabulary(tokenizer=Tokenizer.from_file(str(folder / TOKENIZER)), **ids)
    refuse_foreign_code(folder)
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    with no_init_weights():
        model = _from_config(config)
    return Loaded(model=model, vocabulary=vocabulary, name=str(folder), has_weights=False, **stored)


def _from_config(config: Any) -> PreTrainedModel:
    """Build a model with random weights."""
    from transformers import AutoModelForCausalLM

    model: PreTrainedModel = AutoModelForCausalLM.from_config(config, trust_remote_code=False)  # type: ignore[no-untyped-call]
    return model


def write_assets(folder: Path, loaded: Loaded) -> None:
    """Write the model's configuration, its vocabulary and the tokens around pages."""
    vocabulary = loaded.vocabulary
    loaded.model.config.save_pretrained(folder)
    vocabulary.save(folder / TOKENIZER)
    tokens = {
        "pad": vocabulary.pad,
        "bos": vocabulary.bos,
        "eos": vocabulary.eos,
        "before": list(loaded.before),
        "after": list(loaded.after),
        "separator": loaded.separator,
    }
    (folder / SPECIAL_TOKENS).write_text(json.dumps(tokens) + "\n", encoding="utf-8")
