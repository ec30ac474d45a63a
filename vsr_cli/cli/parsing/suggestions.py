"""Suggestions for words that no command takes: the nearest option, setting or command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from ...config.renamed import OPTIONS, SETTINGS
from ...errors import initials
from ...plugin.kinds import KIND_OF, MODEL_COMPONENTS

PREPARE = ("data", "model", "features", "dataset", "visual", "text")
TRAIN = ("training", "objective", "model", "features", *MODEL_COMPONENTS)
SECTIONS_OF: Mapping[str, Sequence[str]] = {
    "prepare": PREPARE,
    "data lint": ("data", "dataset"),
    "data stats": ("data", "dataset"),
    "train": TRAIN,
    "ablate": (*TRAIN, "metrics"),
    "tune": TRAIN,
    "config show": TRAIN,
    "evaluate": ("decoding", "metrics"),
    "predict": ("decoding",),
    "continue": ("decoding",),
    "compare": ("metrics",),
    "score": ("metrics",),
}
"""The sections that `--set` takes, by command."""
OTHER_WORDS = {"gpu": "cuda", "gpus": "cuda", "half": "fp16", "cosine_schedule": "cosine"}
"""What other programs call a value of ours."""
OTHER_OPTIONS = {("prepare", "data"): "--out", ("train", "name"): "--out", ("train", "run_name"): "--out"}
"""What other programs call an option of ours, by command."""
DEVICELESS = ("evaluate", "predict", "continue", "score", "compare")
"""The commands that use the best available device."""
IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
MOST = 3
LIKENESS = 0.65
ALIKE = 0.85
"""How alike a mistyped option and the one that was meant are."""

Fields = Mapping[str, Any]
"""Settings by their path, "training.epochs", each with its type."""


def suggest_option(command: str, options: Sequence[str], option: str, value: str | None) -> str | None:
    """Return what to type instead of an option that a command does not have; None where nothing is near.

    `options` are the command's own; `value` is the word that followed, None where there was none.
    """
    word = option.lstrip("-").replace("-", "_").lower()
    if not word:
        return None
    if option in OPTIONS:
        return f"it is now called {OPTIONS[option]}"
    if (command, word) in OTHER_OPTIONS:
        return _did_you_mean([OTHER_OPTIONS[command, word]])
    own = {name.lstrip("-").replace("-", "_"): name for name in options if name.startswith("--")}
    if begun := [name for key, name in own.items() if key.startswith(word) or (len(key) > 2 and word.startswith(key))]:
        return _did_you_mean(begun[:MOST])
    if word == "version":
        return "type 'vsr --version'"
    if near := get_close_matches(word, own, n=1, cutoff=ALIKE):
        return _did_you_mean([own[near[0]]])  # before the settings, whose schemas take time to import
    if command not in SECTIONS_OF:
        return _did_you_mean(get_close_matches(option, options, n=MOST, cutoff=LIKENESS))
    if command in DEVICELESS and OTHER_WORDS.get(word, word) in ("device", "cuda", "cpu"):
        return "it runs on the GPU where there is one; CUDA_VISIBLE_DEVICES= before the command hides that"
    if found := _assignments(_program_fields(command), word, value):
        return _did_you_mean(found)
    others = () if command in DEVICELESS else ("prepare", "train", "predict")
    for other in others:
        if paths := [path for path in _program_fields(other) if path.rpartition(".")[2] == word]:
            return f"it is an option of 'vsr {other}': --set {paths[0]}={value or 'VALUE'}"
    if found := _find_settings(command, word, value):
        return _did_you_mean(found)
    for other in others:
        if found := _find_settings(other, word, value):
            return f"it is an option of 'vsr {other}': {found[0]}"
    if within := [name for key, name in own.items() if word.endswith(f"_{key}")]:
        return _did_you_mean(within[:MOST])
    if near := get_close_matches(word, own, n=1, cutoff=LIKENESS):
        return _did_you_mean([own[near[0]]])
    keys = {path.rpartition(".")[2] for path in setting_types(SECTIONS_OF[command])}
    if near := get_close_matches(word, keys, n=1, cutoff=LIKENESS):
        return _did_you_mean(_find_settings(command, near[0], value))
    return None


def suggest_option_for_argument(command: str, options: Sequence[str], word: str) -> str | None:
    """Return what to type instead of a word that a command does not take; None where nothing is known of it."""
    place = Path(word)
    if (place / "run.json").is_file():
        flag = next((flag for flag in ("--run", "--resume") if flag in options), None)
        return _commands([f"{command} {flag} {word}"] if flag else [])
    if (place / "manifest.json").is_file() and "--data" in options:
        return _commands([f"{command} --data {word}"])
    if place.exists() and command in ("train", "evaluate", "ablate"):
        return f"type 'vsr prepare {word}' first, if these are stories, then 'vsr {command}'"
    from ...plugin.discovery import registry

    flags = [
        kind.flag
        for kind in KIND_OF.values()
        if kind.flag in options and word in registry().names(kind.section) and kind.section != "dataset"
    ]
    return _commands([f"{command} {flag} {word}" for flag in flags[:MOST]])


def suggest_command(
    word: str, following: Sequence[str], commands: Mapping[str, Sequence[str]], *, path: Sequence[str]
) -> str | None:
    """Return what to type instead of a word that is no command; None where nothing is near.

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


def _did_you_mean(words: Sequence[str]) -> str | None:
    return f"did you mean {' or '.join(words)}?" if words else None


def _program_fields(command: str) -> Fields:
    """Return the settings of a command that are not those of components, for which plugins must be discovered."""
    return setting_types([section for section in SECTIONS_OF[command] if section not in KIND_OF])


def _find_settings(command: str, word: str, value: str | None) -> list[str]:
    """Return assignments of the settings that a word names: by the key, its initials, or a value that it can have.

    The program's own settings come first; plugins are discovered only where none of these is meant.
    """
    own = _assignments(_program_fields(command), word, value)
    return own or _assignments(setting_types(SECTIONS_OF[command]), word, value)


def _assignments(fields: Fields, word: str, value: str | None) -> list[str]:
    keys = {path: path.rpartition(".")[2] for path in fields}
    named = [SETTINGS[path] for path in SETTINGS if SETTINGS[path] in fields and path.rpartition(".")[2] == word]
    named = named or [path for path, key in keys.items() if key == word]
    named = named or [path for path, key in keys.items() if initials(key) == word]
    named = named or [path for path, key in keys.items() if len(word) > 2 and key.startswith(word)]
    if named:
        return [f"--set {path}={value or 'VALUE'}" for path in named[:MOST]]
    wanted = OTHER_WORDS.get(word, word)
    return [f"--set {path}={wanted}" for path, kind in fields.items() if wanted in choices_of(kind)][:MOST]


def setting_types(sections: Sequence[str]) -> Fields:
    """Return the settings of some sections with their types; those of a kind are of all its components."""
    from ...config.schema import SETTABLE
    from ...plugin.discovery import registry

    found: dict[str, Any] = {}
    for section in sections:
        if section in SETTABLE:
            entries = [(section, SETTABLE[section])]
        else:
            entries = [
                (f"metrics.{entry.component.name}" if section == "metrics" else section, entry.component.options)
                for entry in registry().provided
                if entry.section == section
            ]
        for path, model in entries:
            found |= {f"{path}.{key}": field.annotation for key, field in model.model_fields.items()}
    return found


def choices_of(annotation: Any) -> list[str]:
    """Return the words that an option can be set to, where its type lists them."""
    if get_origin(annotation) is Literal:
        return [str(choice) for choice in get_args(annotation)]
    if get_origin(annotation) in (Union, UnionType):
        return [choice for each in get_args(annotation) for choice in choices_of(each)]
    return []
