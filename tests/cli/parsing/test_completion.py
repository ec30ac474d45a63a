"""Completion in the shell: what Typer's scripts ask by environment variables."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ASK = """
import json, os, sys
from vsr_cli.cli.main import main
try:
    main()
except SystemExit:
    pass
heavy = [name for name in ("torch", "transformers", "numpy") if name in sys.modules]
print(json.dumps(heavy), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("completing")
    for name in ("first", "second"):
        (folder / "runs" / name).mkdir(parents=True)
        (folder / "runs" / name / "run.json").write_text("{}")
    (folder / "runs" / "other").mkdir()
    return folder


def complete(folder, words, *, shell="bash"):
    """Return what is offered for the last of the words, as bash splits them; nothing heavy may be imported."""
    if shell == "bash":
        asked = {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1), "_VSR_COMPLETE": "complete_bash"}
    else:
        line = " ".join(words)
        asked = {"_TYPER_COMPLETE_ARGS": line, "_VSR_COMPLETE": f"complete_{shell}"}
    done = subprocess.run(
        [sys.executable, "-c", ASK], env={**os.environ, **asked}, cwd=folder, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stderr.splitlines()[-1]) == []
    return done.stdout.split()


def test_bash_completes_settings(folder):
    found = complete(folder, ["vsr", "train", "--set", "training.s"])
    assert found == ["training.schedule=", "training.seed="]
    assert complete(folder, ["vsr", "train", "--set", "training.sch"]) == [
        "training.schedule=constant",
        "training.schedule=cosine",
    ]
    assert "text_decoder.dropout=" in complete(folder, ["vsr", "train", "--set", "text_decoder.d"])


@pytest.mark.parametrize(
    "words",
    [
        ["vsr", "train", "--set", "training.schedule", "=", "cosi"],
        ["vsr", "train", "--epochs", "3", "--set", "=", "training.schedule", "=", "cosi"],
    ],
)
def test_bash_completes_values_although_it_splits_at_equals(folder, words):
    assert complete(folder, words) == ["cosine"]


def test_bash_completes_all_values_after_equals(folder):
    assert complete(folder, ["vsr", "train", "--set", "training.compile", "="]) == ["true", "false"]


def test_zsh_completes_values(folder):
    (line,) = complete(folder, ["vsr", "train", "--set", "training.schedule=cosi"], shell="zsh")[-1:]
    assert "training.schedule=cosine" in line


def test_settings_are_those_of_the_command(folder):
    assert complete(folder, ["vsr", "predict", "--set", "training.s"]) == []
    assert "decoding.samples=" in complete(folder, ["vsr", "predict", "--set", "decoding.s"])
    assert complete(folder, ["vsr", "tune", "--search", "training.see"]) == ["training.seed="]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["vsr", "evaluate", "--run", "ru"], ["runs/second", "runs/first"]),
        (["vsr", "runs", "show", "fi"], ["first"]),
        (["vsr", "runs", "rm", "first", "runs/s"], ["runs/second"]),
        (["vsr", "train", "--temporal", "attention-g"], ["attention-gru"]),
    ],
)
def test_runs_and_components(folder, words, expected):
    assert complete(folder, words) == expected
