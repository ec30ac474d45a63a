"""What can be typed: help, completion, mistakes in the words themselves, and where output goes."""

import json
import os
import subprocess
import sys

import pytest

from vsr_cli import console

COMMANDS = (
    *("prepare", "train", "evaluate", "predict", "demo"),
    *("data lint", "data stats", "data show", "cache list", "cache verify", "cache prune"),
    *("plugins list", "plugins show", "config show"),
)


def light(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_shows_examples_of_it(vsr, empty, command):
    answer = vsr(f"{command} --help")
    assert answer.code == 0
    assert not answer.err
    examples = answer.out.partition("Examples")[2]
    assert f"vsr {command}" in examples


def test_vsr_alone_and_a_group_alone_show_their_help(vsr, empty):
    for line, commands in (("", ("prepare", "train", "evaluate", "predict")), ("plugins", ("list", "show"))):
        answer = vsr(line)
        assert all(command in answer.out for command in commands)
        assert not answer.err
    assert vsr("--version").out.startswith("vsr ")


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("trian", ["trian", "train", "see 'vsr --help'"]),
        ("plugins lst", ["lst", "list", "see 'vsr plugins --help'"]),
        ("train --temporl gru", ["--temporl", "--temporal", "see 'vsr train --help'"]),
        ("train --epochs", ["--epochs", "requires an argument", "see 'vsr train --help'"]),
        ("train --epochs many", ["--epochs", "integer", "see 'vsr train --help'"]),
        ("train stray", ["stray", "see 'vsr train --help'"]),
        ("predict", ["story_dir", "see 'vsr predict --help'"]),
        ("evaluate --metrics", ["--metrics", "requires an argument", "see 'vsr evaluate --help'"]),
        ("evaluate stray --metrics bleu", ["stray", "see 'vsr evaluate --help'"]),
        ("plugins show", ["name", "see 'vsr plugins show --help'"]),
    ],
)
def test_words_that_are_no_command_are_one_line_on_stderr(vsr, empty, line, parts):
    answer = vsr(line)
    assert answer.code == 2
    assert not answer.out
    (error,) = answer.errors
    assert len(answer.err.splitlines()) == 1
    for part in parts:
        assert part in error


@pytest.mark.parametrize(
    ("line", "has", "has_not"),
    [
        ("vsr train --temporal ", ["gru", "lstm"], ["concat"]),
        ("vsr train --text-decoder g", ["gru"], ["lstm"]),
        ("vsr prepare --visual tiny", ["tiny-cnn"], ["resnet50"]),
        ("vsr prepare --dataset ", ["folder", "storyworld"], ["gru"]),
        ("vsr train --preset t", ["tiny"], ["reference"]),
        ("vsr evaluate --metrics b", ["bleu"], ["rouge"]),
        ("vsr evaluate --split v", ["validation"], ["test"]),
        ("vsr plugins show l", ["lstm"], ["gru"]),
        ("vsr pre", ["prepare", "predict"], ["train"]),
    ],
)
def test_the_shell_completes_commands_and_the_names_of_components(vsr, empty, monkeypatch, line, has, has_not):
    monkeypatch.setenv("_VSR_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(line.count(" ")))
    answer = vsr("")
    assert answer.code == 0
    assert set(has) <= set(answer.out.split())
    assert not set(has_not) & set(answer.out.split())


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_completion_script(vsr, empty, monkeypatch, shell):
    monkeypatch.setenv("_VSR_COMPLETE", f"source_{shell}")
    answer = vsr("")
    assert answer.code == 0
    assert "_VSR_COMPLETE" in answer.out


@pytest.mark.parametrize(
    ("line", "absent"),
    [
        (["--help"], {"numpy", "pydantic", "rich", "torch"}),
        (["data", "--help"], {"numpy", "pydantic", "rich", "torch"}),
        (["train", "--help"], {"numpy", "pluggy", "torch"}),  # Typer reads a command's words by pydantic
        (["trian"], {"numpy", "pluggy", "torch"}),
        (["train", "--lr", "3"], {"numpy", "torch"}),
        (["train", "--temporal", "gruu"], {"numpy", "pyarrow", "torch"}),
        (["evaluate", "--metrics", "blue"], {"numpy", "pyarrow", "torch"}),
        (["plugins", "list"], {"numpy", "torch", "huggingface_hub"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_answers_do_not_import_libraries_that_they_do_not_need(tmp_path, line, absent):
    code = f"""
import os, sys
os.chdir({str(tmp_path)!r})
sys.argv = ["vsr", *{line!r}]
from vsr_cli.cli.main import main
try:
    main()
except SystemExit:
    pass
print("IMPORTED", sorted({absent!r} & sys.modules.keys()), file=sys.stderr)
"""
    assert "IMPORTED []" in light(code).stderr


def test_plugins_list_names_every_kind_and_json_says_the_same(vsr, empty):
    listed = json.loads(vsr("plugins list --json").out)
    names = {(item["kind"], item["name"]) for item in listed["components"]}
    kinds = {"visual", "text", "fusion", "temporal", "text_decoder", "image_decoder", "dataset", "metrics"}
    assert {kind for kind, _ in names} == kinds
    assert {("temporal", "gru"), ("text_decoder", "gru"), ("visual", "resnet50"), ("metrics", "bleu")} <= names
    shown = vsr("plugins list").out
    assert all(name in shown for _, name in names)


def test_plugins_show_gives_every_option_with_type_and_default(vsr, empty, monkeypatch):
    monkeypatch.setattr(console.out, "_width", 120)
    shown = vsr("plugins show lstm").out
    assert "--temporal lstm" in shown
    assert "temporal.layers" in shown
    assert "integer" in shown
    assert "integer | all" in vsr("plugins show distilbert").out
    assert "cls | mean" in vsr("plugins show distilbert").out
    both = json.loads(vsr("plugins show gru --json").out)
    assert {entry["kind"] for entry in both} == {"temporal", "text_decoder"}
    assert "layers" in both[0]["options"]


def test_brackets_in_a_plugin_s_words_are_words(vsr, empty, monkeypatch):
    from vsr_cli.api import Component, Options
    from vsr_cli.plugin import discovery
    from vsr_cli.plugin.registry import Provided, Registry

    component = Component(name="odd", options=Options, build="x:y", summary="takes [B, K] and [/bold] as they come")
    found = Registry((Provided("temporal", component, "odd", "odd 1.0"),))
    monkeypatch.setattr(discovery, "registry", lambda: found)
    for line in ("plugins show odd", "plugins list"):
        answer = vsr(line)
        assert answer.code == 0
        assert "[B, K]" in " ".join(answer.out.split())


def test_config_show_needs_no_data_and_takes_a_preset(vsr, empty):
    settings = json.loads(vsr("config show --preset reference").out)
    assert settings["preset"] == "reference"
    assert settings["visual"]["name"] == "resnet50"
    assert not list(empty.iterdir())
