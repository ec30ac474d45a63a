"""What a component needs beside its package: weights, a model of the hub, a library. Light: imports none of them.

A component may name a function in `Component.requires`. It is called with the component's options before anything is
read, built or written, and returns a `Requirement` for each thing that is not on this machine. What cannot be had is
then reported, for all components of a command together; the rest is fetched under one progress bar.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..files.atomic import replacing

Report = Callable[[int], None]
"""Is told of every so many bytes that have come."""
TIMEOUT = 10.0
"""Seconds after which a server that says nothing cannot be reached."""
PIECE = 2**18
MODEL_SIZES = {
    "HuggingFaceTB/SmolLM2-135M": 269_000_000,
    "distilbert-base-uncased": 268_000_000,
    "facebook/dinov2-base": 346_000_000,
    "facebook/dinov2-small": 88_000_000,
    "sentence-transformers/all-MiniLM-L6-v2": 91_000_000,
    "sentence-transformers/all-mpnet-base-v2": 438_000_000,
}
"""Bytes of the models that presets and components name by themselves, for where no hub can be asked."""
MODEL_FILES = {
    "config": ("config.json",),
    "weights": ("model.safetensors", "model.safetensors.index.json"),
    "tokenizer": (
        *("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json"),
        *("spiece.model", "sentencepiece.bpe.model", "tokenizer.model"),
    ),
    "preprocessor": ("preprocessor_config.json", "processor_config.json"),
}
"""What a model of the hub has, and the files of which it then has one at least."""
HUB_ID = r"\w[\w.-]*(/\w[\w.-]*)?"


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """One thing that a component needs and that is not on this machine."""

    what: str
    """What it is, as in "the weights resnet50-11ad3fa6.pth"."""
    remedy: str
    """What the user can do about it, as in "name a local file by --set visual.weights=FILE"."""
    problem: str | None = None
    """Why it cannot be had; None where `fetch` gets it."""
    size: int = 0
    """Bytes to fetch; 0 where that is not known."""
    fetch: Callable[[Report], None] | None = None
    """Fetches it. Raises OSError or ValueError where that fails."""

    def __post_init__(self) -> None:
        if (self.problem is None) == (self.fetch is None):
            raise ValueError(f"requirement {self.what!r}: needs either a problem or a way to fetch it")


def megabytes(size: int) -> str:
    """Write a number of bytes as people read it, "103 MB"; "" where it is not known."""
    return f"{size / 1e6:.0f} MB" if size >= 1e6 else f"{max(1, round(size / 1e3))} kB" if size else ""


def is_offline() -> bool:
    """Whether the user forbids downloads: HF_HUB_OFFLINE holds for every server here."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def missing_package(name: str, *, extra: str) -> list[Requirement]:
    """Return the requirement of an optional library, none where it is installed."""
    if find_spec(name) is not None:
        return []
    remedy = f"pip install 'vsr-cli[{extra}]'"
    return [Requirement(what=f"the library {name}", problem="is not installed", remedy=remedy)]


def missing_file(path: str | Path, *, what: str, remedy: str) -> list[Requirement]:
    """Return the requirement of a file that an option names, none where it is there."""
    if Path(path).is_file():
        return []
    problem = "is a folder" if Path(path).is_dir() else "there is no such file"
    return [Requirement(what=f"{what} {path}", problem=problem, remedy=remedy)]


def missing_download(
    url: str, path: Path, *, what: str, remedy: str, size: int = 0, sha256: str = ""
) -> list[Requirement]:
    """Return the requirement of a file that is fetched from an address once, none where it is at its path.

    `sha256` is how the digest of its bytes begins, where that is known. The server is asked for the size alone.
    """
    if path.is_file():
        return []
    problem = "downloads are off (HF_HUB_OFFLINE)"
    if not is_offline():
        try:
            size, problem = _size_of(url) or size, ""
        except (OSError, ValueError) as error:
            problem = f"{url} cannot be fetched ({_reason(error)})"
    named = _named(what, size)
    remedy = f"put that file at {path}, {remedy}"
    if problem:
        return [Requirement(what=named, problem=f"not on this machine, and {problem}", remedy=remedy, size=size)]

    def fetch(report: Report) -> None:
        _fetch(url, path, sha256, report)

    return [Requirement(what=named, remedy=remedy, size=size, fetch=fetch)]


def missing_model(
    model: str, *, option: str, files: Sequence[str] = ("config", "weights"), revision: str | None = None
) -> list[Requirement]:
    """Return the requirement of a model of the hub or of a folder, none where all it needs is there.

    `option` names the setting that chooses it, as "text.model". Each of `files` is one of "config", "weights" (in
    safetensors), "tokenizer" and "preprocessor", or a file's own name.
    """
    from huggingface_hub import try_to_load_from_cache

    wanted = [MODEL_FILES.get(each, (each,)) for each in files]
    remedy = f"name the folder of a model by --set {option}=FOLDER"
    folder = Path(model).expanduser()
    if folder.is_dir():
        lacking = [group for group in wanted if not any((folder / name).is_file() for name in group)]
        problem = f"holds no {' or '.join(lacking[0][:2])}" if lacking else ""
        return [Requirement(what=f"the folder {model}", problem=problem, remedy=remedy)] if lacking else []
    if not re.fullmatch(HUB_ID, model):
        return [Requirement(what=f"the model {model}", problem="there is no such folder", remedy=remedy)]
    cached = [name for group in wanted for name in group if isinstance(try_to_load_from_cache(model, name), str)]
    if all(set(group) & set(cached) for group in wanted):
        return []
    remedy += ", or let HF_HOME name a cache that holds it"
    size, problem, names = MODEL_SIZES.get(model, 0), "downloads are off (HF_HUB_OFFLINE)", dict[str, int]()
    if not is_offline():
        try:
            names, problem = _files_of(model, revision, {name for group in wanted for name in group}), ""
        except (OSError, ValueError) as error:
            problem = f"the hub cannot be asked ({_reason(error)})"
        if names and (lacking := [group for group in wanted if not set(group) & set(names)]):
            what = f"the model {model} of the hub"
            return [Requirement(what=what, problem=f"has no {' or '.join(lacking[0][:2])}", remedy=remedy)]
        size = sum(names.values()) or size
    named = _named(f"the model {model}", size)
    if problem:
        problem = f"not in the Hugging Face cache, and {problem}"
        return [Requirement(what=named, problem=problem, remedy=remedy, size=size)]

    def fetch(report: Report) -> None:
        for name in names:
            _fetch_of_hub(model, name, revision, report)

    return [Requirement(what=named, remedy=remedy, size=size, fetch=fetch)]


def _named(what: str, size: int) -> str:
    return f"{what} ({megabytes(size)})" if size else what


def _reason(error: BaseException) -> str:
    """Return the first line of an error, of a failed connection what the system says, without the address."""
    cause = getattr(error, "reason", None)
    words = next(iter(str(cause or error).strip().splitlines()), "") or type(error).__name__
    return re.sub(r" for url:? \S+", "", words)[:200]


def _size_of(url: str) -> int:
    from urllib.request import Request, urlopen

    with urlopen(Request(url, method="HEAD"), timeout=TIMEOUT) as answer:
        return int(answer.headers.get("Content-Length") or 0)


def _fetch(url: str, path: Path, sha256: str, report: Report) -> None:
    from urllib.request import urlopen

    digest = hashlib.sha256()
    with urlopen(url, timeout=TIMEOUT) as answer, replacing(path) as temporary, temporary.open("wb") as sink:
        wanted = int(answer.headers.get("Content-Length") or 0)
        came = 0
        while piece := answer.read(PIECE):
            sink.write(piece)
            digest.update(piece)
            came += len(piece)
            report(len(piece))
        if came < wanted:
            raise OSError(f"the connection ended after {came} of {wanted} bytes")
        if not digest.hexdigest().startswith(sha256):
            raise OSError("what came is not the file that was published: its digest differs")


def _files_of(model: str, revision: str | None, wanted: Collection[str]) -> dict[str, int]:
    """Ask the hub for the files of a model that are read here, with their sizes. Raises OSError or ValueError."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # its client's own, kept there

    try:
        info = HfApi().model_info(model, revision=revision, files_metadata=True, timeout=TIMEOUT)
    except HTTPError as error:
        raise OSError(_reason(error)) from error
    return {file.rfilename: file.size or 0 for file in info.siblings or () if _is_read(file.rfilename, wanted)}


def _is_read(name: str, wanted: Collection[str]) -> bool:
    """Whether a file of a model is one that is read here: no other library's weights, nothing that unpickles."""
    if name in wanted or re.fullmatch(r"[^/]*\.(json|txt|model)", name):
        return True
    if "model.safetensors" in wanted and re.fullmatch(r"model-[^/]*\.safetensors", name):
        return True
    return re.fullmatch(r"\d+_[^/]+/config\.json", name) is not None  # of sentence-transformers


def _fetch_of_hub(model: str, name: str, revision: str | None, report: Report) -> None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]
    from tqdm import tqdm  # type: ignore[import-untyped]

    class Told(tqdm):  # type: ignore[misc]
        """Draws no bar where the library would, and passes on how many bytes have come."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **{**options, "disable": True})

        def update(self, count: float | None = 1) -> bool | None:
            report(int(count or 0))
            return None

    try:
        hf_hub_download(model, name, revision=revision, tqdm_class=Told)
    except HTTPError as error:
        raise OSError(_reason(error)) from error
