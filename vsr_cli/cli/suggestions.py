"""What to type instead: the nearest option, setting or command to words that were not understood."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from ..api import Decoding, Options
from ..config.experiment import PREPARE_SECTIONS, TRAIN_SECTIONS
from ..config.schema import COMMON
from ..errors import initials
from ..plugin.discovery import registry
from ..plugin.kinds import KIND_OF

SECTIONS_OF: Mapping[str, Sequence[str]] = {
    "prepare": PREPARE_SECTIONS,
    "data lint": ("dataset", "data"),
    "data stats": ("dataset", "data"),
    "train": TRAIN_SECTIONS,
    "ablate": (*TRAIN_SECTIONS, "metrics"),
    "config show": TRAIN_SECTIONS,
    "evaluate": ("decoding", "metrics"),
    "predict": ("decoding",),
    "compare": ("metrics",),
    "score": ("metrics",),
}
"""The sections that `--set` takes, by command."""
OTHER_WORDS = {"gpu": "cuda", "gpus": "cuda", "half": "fp16", "cosine_schedule": "cosine"}
"""What others call a value of ours."""
OTHER_OPTIONS = {("prepare", "data"): "--out", ("train", "name"): "--out", ("train", "run_name"): "--out"}
"""What others call an option of ours, by command."""
DEVICELESS = ("evaluate", "predict", "score", "compare")
"""The commands that take the best device there is."""
IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
MOST = 3
LIKENESS = 0.65

Fields = Mapping[str, Any]
"""Settings by their place, "training.epochs", each with its type."""


def option_instead(command: str, options: Sequence[str], option: str, value: str | None) -> str | None:
    """Say what to type instead of an option that a command does not have, None where nothing is near.

    `options` are the command's own; `value` is the word that followed, None where there was none.
    """
    word = option.lstrip("-").replace("-", "_").lower()
    if not word:
        return None
    if (command, word) in OTHER_OPTIONS:
        return _either([OTHER_OPTIONS[command, word]])
    own = {name.lstrip("-").replace("-", "_"): name for name in options if name.startswith("--")}
    if begun := [name for key, name in own.items() if key.startswith(word) or (len(key) > 2 and word.startswith(key))]:
        return _either(begun[:MOST])
    if word == "version":
        return "type 'vsr --version'"
    if command not in SECTIONS_OF:
        return _either(get_close_matches(option, options, n=MOST, cutoff=LIKENESS))
    if command in DEVICELESS and OTHER_WORDS.get(word, word) in ("device", "cuda", "cpu"):
        return "it runs on the GPU where there is one; CUDA_VISIBLE_DEVICES= before the command hides that"
    fields = _fields(SECTIONS_OF[command])
    if found := _setting(fields, word, value):
        return _either(found)
    for other in ("prepare", "train", "predict"):
        if command not in DEVICELESS and (found := _setting(_fields(SECTIONS_OF[other]), word, value)):
            return f"it is an option of 'vsr {other}': {found[0]}"
    if within := [name for key, name in own.items() if word.endswith(f"_{key}")]:
        return _either(within[:MOST])
    if near := get_close_matches(word, own, n=1, cutoff=LIKENESS):
        return _either([own[near[0]]])
    if near := get_close_matches(word, {place.rpartition(".")[2] for place in fields}, n=1, cutoff=LIKENESS):
        return _either(_setting(fields, near[0], value))
    return None


def argument_instead(command: str, options: Sequence[str], word: str) -> str | None:
    """Return what to type instead of a word that a command does not take, None where nothing is known of it."""
    place = Path(word)
    if (place / "run.json").is_file():
        flag = next((flag for flag in ("--run", "--resume") if flag in options), None)
        return _commands([f"{command} {flag} {word}"] if flag else [])
    if (place / "manifest.json").is_file() and "--data" in options:
        return _commands([f"{command} --data {word}"])
    if place.exists() and command in ("train", "evaluate", "ablate"):
        return f"type 'vsr prepare {word}' first, if these are stories, then 'vsr {command}'"
    flags = [
        kind.flag
        for kind in KIND_OF.values()
        if kind.flag in options and word in registry().names(kind.section) and kind.section != "dataset"
    ]
    return _commands([f"{command} {flag} {word}" for flag in flags[:MOST]])


def command_instead(
    word: str, following: Sequence[str], commands: Mapping[str, Sequence[str]], *, path: Sequence[str]
) -> str | None:
    """Return what to type instead of a word that is no command, None where nothing is near.

    `commands` maps each command that could stand there to those below it; `path` is what was typed before.
    """
    if path:
        return _commands([" ".join([*path, name]) for name in get_close_matches(word, commands, n=MOST, cutoff=0.5)])
    place = Path(word)
    if word in ("help", "version"):
        if word == "help" and following and following[0] in commands:
            return f"type 'vsr {following[0]} --help'"
        return f"type 'vsr --{word}'"
    if (place / "run.json").is_file():
        return f"type 'vsr runs show {word}', 'vsr evaluate --run {word}' or 'vsr predict STORY_DIR --run {word}'"
    if (place / "manifest.json").is_file():
        return f"type 'vsr train --data {word}'"
    if place.suffix.lower() in IMAGES:
        return "type 'vsr predict STORY_DIR' with the folder of a story"
    if place.exists() or word.endswith("/"):
        return f"type 'vsr prepare {word}' to read stories, or 'vsr predict {word}' to continue one"
    if near := get_close_matches(word, commands, n=MOST, cutoff=0.6):
        return _commands(near)
    return _commands([f"{group} {word}" for group, names in commands.items() if word in names])


def _commands(lines: Sequence[str]) -> str | None:
    return "type " + " or ".join(f"'vsr {line}'" for line in lines) if lines else None


def _fields(sections: Sequence[str]) -> dict[str, Any]:
    """Return the settings of some sections with their types; those of a kind are of all its components."""
    own: Mapping[str, type[Options]] = {**COMMON, "decoding": Decoding}
    found: dict[str, Any] = {}
    for section in sorted(sections, key=lambda section: section in KIND_OF):
        for place, model in _models(section, own):
            found |= {f"{place}.{key}": field.annotation for key, field in model.model_fields.items()}
    return found


def _models(section: str, own: Mapping[str, type[Options]]) -> Iterator[tuple[str, type[Options]]]:
    if section in own:
        yield section, own[section]
    for entry in registry().provided:
        if entry.section == section:
            place = f"metrics.{entry.component.name}" if section == "metrics" else section
            yield place, entry.component.options


def _setting(fields: Fields, word: str, value: str | None) -> list[str]:
    """Return assignments of the settings that a word names: by the key, its initials, or a value that it can have."""
    keys = {place: place.rpartition(".")[2] for place in fields}
    named = [place for place, key in keys.items() if key == word]
    named = named or [place for place, key in keys.items() if initials(key) == word]
    named = named or [place for place, key in keys.items() if len(word) > 2 and key.startswith(word)]
    if named:
        program = [place for place in named if place.partition(".")[0] not in KIND_OF]
        return [f"--set {place}={value or 'VALUE'}" for place in (program or named)[:MOST]]
    wanted = OTHER_WORDS.get(word, word)
    return [f"--set {place}={wanted}" for place, kind in fields.items() if wanted in _choices(kind)][:MOST]


def _choices(annotation: Any) -> list[str]:
    """Return the words that an option can be set to, where its type lists them."""
    if get_origin(annotation) is Literal:
        return [str(choice) for choice in get_args(annotation)]
    if get_origin(annotation) in (Union, UnionType):
        return [choice for each in get_args(annotation) for choice in _choices(each)]
    return []


def _either(words: Sequence[str]) -> str | None:
    return f"did you mean {' or '.join(words)}?" if words else None
