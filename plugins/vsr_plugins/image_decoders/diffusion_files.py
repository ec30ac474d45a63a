"""The files of a pipeline of the diffusers library: which are read, downloaded or missing."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vsr_cli.api import Requirement, missing_on_hub, missing_package

from . import DiffusionOptions

INDEX = "model_index.json"
"""Names the pipeline's class, and the library and class of each of its components."""
UNUSED = ("safety_checker", "feature_extractor", "image_encoder", "watermarker")
"""Components that are left out: they are not part of generating an image from a text. An IP-Adapter brings its own."""
TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "spiece.model", "tokenizer.model")
VARIANTS = ("fp16", "")
"""Weights in half precision come first: they are half the download, and all that such models were trained for."""
REMEDY = "name the folder of a diffusers pipeline in safetensors by --set image_decoder.model=FOLDER"


def requirements(options: DiffusionOptions) -> list[Requirement]:
    """Return the missing packages and files: diffusers, peft for LoRA, and the pipeline."""
    packages = missing_package("diffusers", extra="diffusers")
    if options.trained == "lora":
        packages += missing_package("peft")
    return [*packages, *missing_pipeline(options.model), *missing_adapter(options)]


def missing_pipeline(model: str) -> list[Requirement]:
    """Return the requirement of a pipeline, a folder or a Hub id, or none if it is complete."""
    folder = pipeline_folder(model)
    if folder is None:
        return missing_on_hub(model, remedy=REMEDY, choose=files_to_download)
    problem = next(problems(folder), None)
    if problem is None:
        return []
    if not Path(model).expanduser().is_dir():  # the cache holds a part of it
        return missing_on_hub(model, remedy=REMEDY, choose=files_to_download)
    return [Requirement(what=f"the folder {model}", problem=problem, remedy=REMEDY)]


def missing_adapter(options: DiffusionOptions) -> list[Requirement]:
    """Return the requirements of the IP-Adapter's file and its image encoder, or none if they are there."""
    if options.ip_adapter is None:
        return []
    file, folder = options.ip_adapter, _encoder_of(options)
    return [
        *_missing_files(file, [file], remedy="name a file by --set image_decoder.ip_adapter=FILE"),
        *_missing_files(
            folder,
            [f"{folder}/config.json", f"{folder}/model.safetensors"],
            remedy="name the folder of a CLIP image encoder by --set image_decoder.ip_adapter_encoder=FOLDER",
        ),
    ]


def adapter_file(options: DiffusionOptions) -> Path:
    """Return the file of an IP-Adapter. Raises OSError if it is missing."""
    assert options.ip_adapter is not None
    return _found(options.ip_adapter)


def encoder_folder(options: DiffusionOptions) -> Path:
    """Return the folder of an IP-Adapter's image encoder. Raises OSError if it is missing."""
    return _found(f"{_encoder_of(options)}/config.json").parent


def _encoder_of(options: DiffusionOptions) -> str:
    assert options.ip_adapter is not None
    return options.ip_adapter_encoder or f"{options.ip_adapter.rpartition('/')[0]}/image_encoder"


def _missing_files(what: str, files: Sequence[str], *, remedy: str) -> list[Requirement]:
    """Return the requirement of files, each a path or OWNER/NAME/PATH of the Hub, or none if they are there."""
    try:
        for file in files:
            _found(file)
    except FileNotFoundError as error:
        if not (parts := _hub_file(files[0])) or Path(parts[0]).is_dir():
            return [Requirement(what=what, problem=str(error), remedy=remedy)]
    else:
        return []
    names = [file.removeprefix(f"{parts[0]}/") for file in files]

    def choose(present: Collection[str]) -> Collection[str]:
        if lacking := [name for name in names if name not in present]:
            raise ValueError(f"has no {lacking[0]}")
        return names

    return missing_on_hub(parts[0], remedy=remedy, choose=choose)


def _found(file: str) -> Path:
    """Return a local path, or that of OWNER/NAME/PATH in the Hugging Face cache. Raises FileNotFoundError."""
    from huggingface_hub import try_to_load_from_cache

    path = Path(file).expanduser()
    if not path.is_file() and (parts := _hub_file(file)):
        path = Path(str(try_to_load_from_cache(*parts)))
    if not path.is_file():
        raise FileNotFoundError("there is no such file")
    return path


def _hub_file(file: str) -> tuple[str, str] | None:
    """Return the repository and the path in it of OWNER/NAME/PATH."""
    found = re.fullmatch(r"(\w[\w.-]*/\w[\w.-]*)/(\w[\w./-]*)", file)
    return (found[1], found[2]) if found else None


def pipeline_folder(model: str) -> Path | None:
    """Return the folder of a pipeline, that of a Hub id in the Hugging Face cache; None if there is none."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    try:
        index = try_to_load_from_cache(model, INDEX)
    except HFValidationError:
        return None
    return Path(index).parent if isinstance(index, str) else None


def files_to_download(names: Collection[str]) -> list[str]:
    """Return what we read of a repository: no weights but safetensors, and of two precisions the lower one.

    Raises ValueError if it holds no pipeline.
    """
    if INDEX not in names:
        raise ValueError(f"has no {INDEX}")
    chosen = [INDEX]
    for name in sorted(names):
        folder, _, file = name.rpartition("/")
        if not folder or "/" in folder or folder in UNUSED:
            continue
        weights = re.fullmatch(r"(diffusion_pytorch_model|model)(\.fp16)?(-\d+-of-\d+)?\.safetensors", file)
        if weights:
            half = any(other.startswith(f"{folder}/{weights[1]}.fp16") for other in names)
            chosen += [name] if bool(weights[2]) == half else []
        elif file.endswith((".json", ".txt", ".model")):
            chosen.append(name)
    return chosen


def read_index(folder: Path) -> dict[str, Any]:
    """Return the content of a pipeline's index. Raises OSError or ValueError."""
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    if not isinstance(index, dict):
        raise ValueError(f"{INDEX} holds no table")
    return index


def used_components(index: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return the library and class of the components that an index names, less those that are left out or null."""
    return {
        name: (str(value[0]), str(value[1]))
        for name, value in index.items()
        if isinstance(value, list) and len(value) == 2 and all(value) and name[:1] != "_" and name not in UNUSED
    }


def problems(folder: Path) -> Iterator[str]:
    """Yield what a folder lacks to be a pipeline, such as "holds no model_index.json"."""
    if not (folder / INDEX).is_file():
        yield f"holds no {INDEX}"
        return
    try:
        index = read_index(folder)
    except (OSError, ValueError) as error:
        yield f"its {INDEX} cannot be read ({error})"
        return
    for name, (_, kind) in used_components(index).items():
        part = folder / name
        if not name.isidentifier():
            yield f"its {INDEX} names a component {name!r}"
        elif "Tokenizer" in kind:
            if not any((part / file).is_file() for file in TOKENIZER_FILES):
                yield f"holds no tokenizer in {name} ({', '.join(TOKENIZER_FILES)})"
        elif "Scheduler" in kind:
            if not (part / "scheduler_config.json").is_file():
                yield f"holds no {name}/scheduler_config.json"
        elif not (part / "config.json").is_file():
            yield f"holds no {name}/config.json"
        elif variant_of(part) is None:
            yield f"holds no weights of {name} in safetensors"


def variant_of(part: Path) -> str | None:
    """Return the variant of a model's weights in safetensors, "fp16" or "" for the plain one; None if it has none."""
    for variant in VARIANTS:
        dotted = f".{variant}" if variant else ""
        for stem in ("diffusion_pytorch_model", "model"):
            index = part / f"{stem}.safetensors.index{dotted}.json"
            if index.is_file():
                if _is_index_of_safetensors(index):
                    return variant
            elif (part / f"{stem}{dotted}.safetensors").is_file():
                return variant
    return None


def _is_index_of_safetensors(index: Path) -> bool:
    """Whether all files that an index names are in safetensors, as it may name pickled ones, and are there."""
    try:
        files = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False
    plain = all(isinstance(file, str) and re.fullmatch(r"[\w.-]+\.safetensors", file) for file in files)
    return plain and all((index.parent / file).is_file() for file in files)
