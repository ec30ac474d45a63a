"""Help, shell completion, usage errors and light imports of all commands."""

import json
import os
import subprocess
import sys

import pytest

COMMANDS = (
    *("prepare", "train", "evaluate", "predict", "demo"),
    *("data lint", "data stats", "data show", "cache list", "cache verify", "cache prune"),
    *("report", "score", "compare", "ablate", "runs list", "runs show"),
    *("plugins list", "plugins show", "config show"),
)


def light(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_has_examples(vsr, empty, command):
    answer = vsr(f"{command} --help")
    assert answer.code == 0
    assert not answer.err
    examples = answer.out.partition("Examples")[2]
    assert f"vsr {command}" in examples


def test_commands_without_arguments_show_help(vsr, empty):
    for line, commands in (("", ("prepare", "train", "evaluate", "predict")), ("plugins", ("list", "show"))):
        answer = vsr(line)
        assert all(command in answer.out for command in commands)
        assert not answer.err
    assert vsr("--version").out.startswith("vsr ")


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("train --temporl gru", ["--temporl", "--temporal", "see 'vsr train --help'"]),
        ("train --epochs", ["--epochs", "requires an argument", "see 'vsr train --help'"]),
        ("train --epochs many", ["--epochs", "integer", "see 'vsr train --help'"]),
        ("predict", ["story_dir", "see 'vsr predict --help'"]),
        ("evaluate --metrics", ["--metrics", "requires an argument", "see 'vsr evaluate --help'"]),
        ("evaluate stray --metrics bleu", ["stray", "see 'vsr evaluate --help'"]),
        ("plugins show", ["name", "see 'vsr plugins show --help'"]),
    ],
)
def test_usage_error_is_one_line_on_stderr(vsr, empty, line, parts):
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
def test_shell_completes_commands_and_component_names(vsr, empty, monkeypatch, line, has, has_not):
    monkeypatch.setenv("_VSR_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(line.count(" ")))
    answer = vsr("")
    assert answer.code == 0
    assert set(has) <= set(answer.out.split())
    assert not set(has_not) & set(answer.out.split())


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_of_each_shell(vsr, empty, monkeypatch, shell):
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
def test_light_commands_do_not_import_heavy_libraries(tmp_path, line, absent):
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


def test_set_takes_several_settings_and_leaves_a_source_or_story_alone(vsr, empty):
    for option in ("--set ", "--set="):
        answer = vsr(f"config show {option}training.epochs=3 text-decoder.dropout=0.5 --set training.seed=7")
        shown = json.loads(answer.out)
        assert (shown["training"]["epochs"], shown["training"]["seed"]) == (3, 7)
        assert shown["text_decoder"]["dropout"] == 0.5
        answer = vsr(f"prepare {option}data.limit=5 data.seed=many stories_at/v0.5=x")
        assert answer.errors[0].startswith("--set data.seed=many: ")
    assert vsr("data lint --set data.limit=5 data.seed=1 stories_at/v0.5=x").errors[0].startswith("stories_at/v0.5=x: ")
