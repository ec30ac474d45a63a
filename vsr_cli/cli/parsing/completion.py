"""Completion in the shell of settings, their values, and runs. Imports neither torch nor transformers.

Typer completes commands, options and the values of choices; these functions complete what it does not know.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import typer

COMPLETING = "_VSR_COMPLETE"
"""The variable by which Typer's scripts ask for completions; in bash its value is "complete_bash"."""
SETTING = "_VSR_COMPLETING_SETTING"
"""The setting whose value bash completes: bash takes "=" for a word of its own, which `join_bash_words` undoes."""
MOST_RUNS = 100


def complete_assignment(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete "section.key=value" of `--set`: the settings of the command, and values where a setting lists them."""
    if setting := os.environ.get(SETTING):
        return [value for value in _values(ctx, setting) if value.startswith(incomplete)]
    setting, equals, value = incomplete.partition("=")
    if equals:
        return [f"{setting}={each}" for each in _values(ctx, setting) if each.startswith(value)]
    found = complete_key(ctx, incomplete)
    if len(found) > 1:
        return found
    return [f"{each}{value}" for each in found for value in _values(ctx, each.rstrip("=")) or [""]]


def complete_key(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete "section.key=", the values of which are typed."""
    return [f"{path}=" for path in _settings(ctx) if path.startswith(incomplete.replace("-", "_"))]


def complete_run(incomplete: str) -> list[str]:
    """Complete the path of a run under runs/; other paths are left to the shell."""
    return [f"{path.parent.name}/{path.name}" for path in _runs() if f"runs/{path.name}".startswith(incomplete)]


def complete_run_name(incomplete: str) -> list[str]:
    """Complete the name of a run under runs/, or its path."""
    return [path.name for path in _runs() if path.name.startswith(incomplete)] or complete_run(incomplete)


def join_bash_words(environ: MutableMapping[str, str]) -> None:
    """Undo that bash takes each "=" for a word of its own: `--set a.b = c` completes the value c of the setting a.b."""
    if environ.get(COMPLETING) != "complete_bash":
        return
    try:
        words = shlex.split(environ["COMP_WORDS"])
        position = int(environ["COMP_CWORD"])
    except (KeyError, ValueError):
        return  # an open quotation mark, such as in a path
    before, current = words[:position], words[position] if position < len(words) else ""
    if current == "=":
        before, current = [*before, "="], ""
    if len(before) > 2 and before[-1] == "=" and not before[-2].startswith("-"):
        environ[SETTING] = before[-2]
        before = before[:-2]
    before = [word for word in before if word != "="]  # of --set=
    environ["COMP_WORDS"] = shlex.join([*before, current]) if current else shlex.join(before) + " "
    environ["COMP_CWORD"] = str(len(before))


def _settings(ctx: typer.Context) -> list[str]:
    from .suggestions import SECTIONS_OF, setting_types

    return sorted(setting_types(SECTIONS_OF.get(_command(ctx), ())))


def _values(ctx: typer.Context, setting: str) -> list[str]:
    from .suggestions import SECTIONS_OF, choices_of, setting_types

    kind = setting_types(SECTIONS_OF.get(_command(ctx), ())).get(setting.replace("-", "_"))
    return ["true", "false"] if kind is bool else choices_of(kind)


def _command(ctx: Any) -> str:
    """Return the words of the command, without vsr."""
    return str(ctx.command_path).partition(" ")[2]


def _runs() -> Iterator[Path]:
    from ...runs.run import RUNS

    folders = sorted(RUNS.iterdir(), reverse=True) if RUNS.is_dir() else []
    for path in folders[:MOST_RUNS]:
        if not path.name.startswith(".") and ((path / "run.json").is_file() or (path / "folds.json").is_file()):
            yield path
