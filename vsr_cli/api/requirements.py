"""Requirements of a component beside its package: weights, models of the Hub, libraries. Imports none of them.

A component may name a function in `Component.requires`. It is called with the component's options before anything is
read, built or written, and returns a `Requirement` for each thing that is missing on this machine. A command reports
all that cannot be downloaded together, and downloads the rest with one progress bar.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

from ..files.atomic import replacing

Report = Callable[[int], None]
"""Is called with the number of bytes of each downloaded piece."""
TIMEOUT = 10.0
"""Seconds without an answer after which a server counts as unreachable."""
PIECE = 2**18
MODEL_SIZES = {
    "HuggingFaceTB/SmolLM2-1.7B": 3_420_000_000,
    "HuggingFaceTB/SmolVLM-256M-Instruct": 513_000_000,
    "HuggingFaceTB/SmolLM2-135M": 269_000_000,
    "distilbert-base-uncased": 268_000_000,
    "facebook/dinov2-base": 346_000_000,
    "facebook/dinov2-small": 88_000_000,
    "sentence-transformers/all-MiniLM-L6-v2": 91_000_000,
    "sentence-transformers/all-mpnet-base-v2": 438_000_000,
    "stabilityai/sd-turbo": 2_582_000_000,
}
"""Bytes of the default models of presets and components, for use without a network."""
MODEL_FILES = {
    "config": ("config.json",),
    "weights": ("model.safetensors", "model.safetensors.index.json"),
    "tokenizer": (
        *("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json"),
        *("spiece.model", "sentencepiece.bpe.model", "tokenizer.model"),
    ),
    "preprocessor": ("preprocessor_config.json", "processor_config.json"),
}
"""Groups of files of a model; it has at least one file of each group."""
MOST_FILES = 1000
"""Files of a model that `local_files` lists."""
HUB_ID = r"\w[\w.-]*(/\w[\w.-]*)?"


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """A thing that a component needs and that is missing on this machine."""

    what: str
    """Its name, as in "the weights resnet50-11ad3fa6.pth"."""
    remedy: str
    """How to fix it, as in "name a local file by --set visual.weights=FILE"."""
    problem: str | None = None
    """Why it cannot be downloaded; None if `fetch` does."""
    size: int = 0
    """Bytes to download; 0 if unknown."""
    fetch: Callable[[Report], None] | None = None
    """Downloads it. Raises OSError or ValueError on failure."""

    def __post_init__(self) -> None:
        if (self.problem is None) == (self.fetch is None):
            raise ValueError(f"requirement {self.what!r}: needs either a problem or a way to fetch it")


def megabytes(size: int) -> str:
    """Return a number of bytes for people, such as "103 MB"; "" if it is 0, unknown."""
    return f"{size / 1e6:.0f} MB" if size >= 1e6 else f"{max(1, round(size / 1e3))} kB" if size else ""


def is_offline() -> bool:
    """Whether the user disabled downloads by HF_HUB_OFFLINE, for every server."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def installed_version(package: str) -> str | None:
    """Return the version of an installed package, None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def missing_package(name: str, *, extra: str | None = None) -> list[Requirement]:
    """Return the requirement of a library, or none if it is installed; `extra` is what vsr installs it with."""
    if find_spec(name) is not None:
        return []
    remedy = f"pip install 'vsr-cli[{extra}]'" if extra else f"pip install {name}"
    return [Requirement(what=f"the library {name}", problem="is not installed", remedy=remedy)]


def missing_file(path: str | Path, *, what: str, remedy: str) -> list[Requirement]:
    """Return the requirement of a file that an option names, or none if it exists."""
    if Path(path).is_file():
        return []
    problem = "is a folder" if Path(path).is_dir() else "there is no such file"
    return [Requirement(what=f"{what} {path}", problem=problem, remedy=remedy)]


def missing_download(
    url: str, path: Path, *, what: str, remedy: str, size: int = 0, sha256: str = ""
) -> list[Requirement]:
    """Return the requirement of a file to download to `path`, or none if it exists.

    `sha256` is a prefix of its digest, if known. The server is only asked for the size.
    """
    if path.is_file():
        return []
    problem = "downloads are off (HF_HUB_OFFLINE)"
    if not is_offline():
        try:
            size, problem = _size_of(url) or size, ""
        except (OSError, ValueError) as error:
            problem = f"{url} cannot be downloaded ({_reason(error)})"
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
    """Return the requirement of a model of the Hub or a folder, or none if it is complete.

    `option` is the setting that selects it, such as "text.model". Each of `files` is one of "config", "weights" (in
    safetensors), "tokenizer" and "preprocessor", or a file name.
    """
    from huggingface_hub import try_to_load_from_cache

    wanted = [MODEL_FILES.get(each, (each,)) for each in files]
    remedy = f"name the folder of a model by --set {option}=FOLDER"
    folder = Path(model).expanduser()
    if folder.is_dir():
        lacking = [group for group in wanted if not any((folder / name).is_file() for name in group)]
        problem = f"holds no {' or '.join(lacking[0][:2])}" if lacking else ""
        return [Requirement(what=f"the folder {model}", problem=problem, remedy=remedy)] if lacking else []
    cached = re.fullmatch(HUB_ID, model) and all(
        any(isinstance(try_to_load_from_cache(model, name), str) for name in group) for group in wanted
    )
    if cached:
        return []

    def choose(names: Collection[str]) -> Collection[str]:
        read = {name for name in names if _is_read(name, {name for group in wanted for name in group})}
        if lacking := [group for group in wanted if not read & set(group)]:
            raise ValueError(f"has no {' or '.join(lacking[0][:2])}")
        return read

    return missing_on_hub(model, remedy=remedy, choose=choose, revision=revision)


def local_files(model: str) -> list[Path] | None:
    """Return all files of a model on this machine, of a folder or of a Hub id in the cache; None if there is none.

    A folder with very many files, such as a home folder, counts as none.
    """
    folder = Path(model).expanduser()
    if not folder.is_dir():
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(model, "config.json") if re.fullmatch(HUB_ID, model) else None
        if not isinstance(cached, str):
            return None
        folder = Path(cached).parent
    files = list(islice((path for path in folder.rglob("*") if path.is_file()), MOST_FILES + 1))
    return sorted(files) if len(files) <= MOST_FILES else None


def missing_on_hub(
    model: str,
    *,
    remedy: str,
    choose: Callable[[Collection[str]], Collection[str]],
    revision: str | None = None,
) -> list[Requirement]:
    """Return the requirement of a repository of the Hub that is not in the Hugging Face cache.

    `choose` returns the files to download among all of its files. It raises ValueError if one that is needed is
    not among them.
    """
    if not re.fullmatch(HUB_ID, model):
        return [Requirement(what=f"the model {model}", problem="there is no such folder", remedy=remedy)]
    remedy += ", or set HF_HOME to a cache that has it"
    size, problem, names = MODEL_SIZES.get(model, 0), "downloads are off (HF_HUB_OFFLINE)", dict[str, int]()
    if not is_offline():
        try:
            sizes, problem = _files_of(model, revision), ""
        except (OSError, ValueError) as error:
            sizes, problem = {}, f"the Hub cannot be reached ({_reason(error)})"
        if sizes:
            try:
                names = {name: sizes[name] for name in choose(sizes)}
            except ValueError as error:
                return [Requirement(what=f"the model {model} of the hub", problem=str(error), remedy=remedy)]
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
    """Return the first line of an error, or of the reason of a failed connection, without its URL."""
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
            raise OSError("the downloaded file is not the published one: its digest differs")


def _files_of(model: str, revision: str | None) -> dict[str, int]:
    """Return the files of a repository of the Hub, with their sizes. Raises OSError or ValueError."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    try:
        info = HfApi().model_info(model, revision=revision, files_metadata=True, timeout=TIMEOUT)
    except HTTPError as error:
        raise OSError(_reason(error)) from error
    return {file.rfilename: file.size or 0 for file in info.siblings or ()}


def _is_read(name: str, wanted: Collection[str]) -> bool:
    """Whether we read this file of a model: no weights of other libraries, nothing to unpickle."""
    if name in wanted or re.fullmatch(r"[^/]*\.(json|txt|model|jinja)", name):
        return True
    if "model.safetensors" in wanted and re.fullmatch(r"model-[^/]*\.safetensors", name):
        return True
    return re.fullmatch(r"\d+_[^/]+/config\.json", name) is not None  # of sentence-transformers


def _fetch_of_hub(model: str, name: str, revision: str | None, report: Report) -> None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]
    from tqdm import tqdm  # type: ignore[import-untyped]

    class Reporter(tqdm):  # type: ignore[misc]
        """Report the downloaded bytes instead of showing a bar."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **{**options, "disable": True})

        def update(self, count: float | None = 1) -> bool | None:
            report(int(count or 0))
            return None

    try:
        hf_hub_download(model, name, revision=revision, tqdm_class=Reporter)
    except HTTPError as error:
        raise OSError(_reason(error)) from error
