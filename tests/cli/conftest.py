"""Fixtures for commands: run a command line, write a story folder, and a small trained run."""

import contextlib
import io
import json
import shlex
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from vsr_cli.ablation import engines
from vsr_cli.cli.main import main
from vsr_cli.config import presets

from ..model_hub import models  # noqa: F401

# The tiny preset with everything made small, so that the very lines of the manual take seconds.
SMALL_PRESET = """
[limit]
[dataset]
name = "storyworld"
stories = 14
[data]
image_size = 32
window = "sliding"
[model]
width = 32
[visual]
name = "tiny-cnn"
size = 32
[text]
name = "tiny-text"
[fusion]
name = "concat"
[temporal]
name = "gru"
[text_decoder]
name = "gru"
length = 12
[image_decoder]
name = "deconv"
channels = 16
[training]
epochs = 1
"""


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The error lines, which must be all that a mistake writes to stderr besides progress and notes."""
        assert "Traceback" not in self.err
        return [line.removeprefix("error: ") for line in self.err.splitlines() if line.startswith("error: ")]


Vsr = Callable[[str], Answer]


def _type(line: str) -> Answer:
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", ["vsr", *shlex.split(line)])
        with pytest.raises(SystemExit) as ended:
            main()
    return Answer(int(ended.value.code or 0), out.getvalue(), err.getvalue())


@pytest.fixture
def vsr() -> Vsr:
    """Type a line, less the word vsr, in this process and the present folder."""
    return _type


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def small_presets(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    precision = request.config.getoption("--precision") or "auto"
    folder = tmp_path_factory.mktemp("presets")
    for name in ("reference.toml", "laptop.toml"):
        shutil.copy(presets.FOLDER / name, folder)
    (folder / "tiny.toml").write_text(f'{SMALL_PRESET}precision = "{precision}"\n')
    return folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, small_presets: Path) -> tuple[Path, Answer]:
    """A folder that was empty before `vsr train --temporal gru` was typed there, and what that wrote."""
    folder = tmp_path_factory.mktemp("typed")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(presets, "FOLDER", small_presets)
        answer = _type("train --temporal gru")
    return folder, answer


@pytest.fixture
def workspace(trained: tuple[Path, Answer], monkeypatch: pytest.MonkeyPatch, small_presets: Path) -> Path:
    """Go to the folder with the trained run. Tests leave data/ and runs/ there as they are."""
    monkeypatch.chdir(trained[0])
    monkeypatch.setattr(presets, "FOLDER", small_presets)
    return trained[0]


@pytest.fixture
def prepared_folder(workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a folder of its own, with the prepared stories."""
    shutil.copytree(workspace / "data", tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


class InThisProcess:
    """An engine that runs each command when it is started, and notes the last word of each in `started`."""

    def __init__(self, vsr: Vsr, started: list[str], ended: object) -> None:
        self.vsr, self.started, self.ended = vsr, started, ended

    def first(self, words: list[str], log: Path) -> int:
        return self.vsr(shlex.join(words)).code

    def start(self, words: list[str], log: Path) -> object:
        self.started.append(words[-1])
        log.write_text(self.vsr(shlex.join(words)).err)
        return self.ended


@pytest.fixture
def started_here(monkeypatch: pytest.MonkeyPatch, vsr: Vsr) -> Callable[[object], list[str]]:
    """Have cells run in this process: started_here(ENDED) returns the list of started ones, each of which is ENDED."""

    def run_here(ended: object) -> list[str]:
        started: list[str] = []
        monkeypatch.setattr(engines, "LocalProcesses", lambda jobs: InThisProcess(vsr, started, ended))
        return started

    return run_here


@pytest.fixture
def write_story() -> Callable[..., Path]:
    """Write a story folder of some pairs: write_story(folder, 4)."""

    def write(folder: Path, pairs: int, *, suffix: str = "jpg", size: tuple[int, int] = (48, 32)) -> Path:
        folder.mkdir(parents=True)
        for number in range(1, pairs + 1):
            Image.new("RGB", size, (20 * number, 90, 200 - 20 * number)).save(folder / f"{number}.{suffix}")
            (folder / f"{number}.txt").write_text(f"Ana finds thing number {number}.\n", encoding="utf-8")
        return folder

    return write


@pytest.fixture
def evaluated(workspace, vsr, tmp_path, monkeypatch):
    """A folder of its own, with a copy of the trained run that has been evaluated."""
    (run,) = (workspace / "runs").iterdir()
    shutil.copytree(run, tmp_path / "runs/mine", ignore=shutil.ignore_patterns("evaluations"))
    data = json.loads((run / "run.json").read_text())["data"]
    monkeypatch.chdir(tmp_path)
    answer = vsr(f"evaluate --run runs/mine --data {data} --metrics bleu mse")
    assert answer.code == 0, answer.err
    return Path("runs/mine")
