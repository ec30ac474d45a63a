"""The example plugin, installed and uninstalled."""

import configparser
import json
import os
import shutil
import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from vsr_cli.api import BuildContext

from ..warm_python import warm_python

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "vsr-mean-memory"
SHIPPED = ("vsr_cli", "plugins", "tests", "pyproject.toml", "README.md", "LICENSE")
IGNORED = shutil.ignore_patterns("__pycache__", "*.egg-info", "dist", "build")


def command(*words: object, site: Path | None = None, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a Python module, with the packages of `site` installed and none else beside the environment's own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(site or "")}
    for name in ("FORCE_COLOR", "COLUMNS", "VSR_DISABLE_PLUGINS"):
        environment.pop(name, None)
    return subprocess.run(
        [*warm_python(), "-m", *map(str, words)],
        env=environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


def succeed(*words: object, site: Path | None = None, cwd: Path) -> str:
    done = command(*words, site=site, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


@dataclass(frozen=True)
class Bench:
    site: Path
    """A folder that the example was installed into."""
    work: Path
    """A working directory, with prepared data and a run."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Bench:
    folder = tmp_path_factory.mktemp("bench")
    site, work = folder / "site", folder / "work"
    work.mkdir()
    source = shutil.copytree(EXAMPLE, folder / "source", ignore=IGNORED)
    offline = ("--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
    succeed("pip", "install", *offline, "--target", site, source, cwd=folder)
    small = ("--set", "dataset.stories=12", "--set", "data.image_size=32", "--set", "visual.size=32")
    succeed("vsr_cli", "prepare", *small, cwd=work)
    words = ("--temporal", "mean-memory", "--set", "temporal.hidden=24", "--set", "model.width=16", "--epochs", "1")
    succeed("vsr_cli", "train", *words, "--out", "run", site=site, cwd=work)
    return Bench(site, work)


@pytest.mark.slow
def test_installed_plugin_is_listed_and_shown(bench):
    listed = json.loads(succeed("vsr_cli", "plugins", "list", "--json", site=bench.site, cwd=bench.work))
    (mean,) = [entry for entry in listed["components"] if entry["name"] == "mean-memory"]
    assert mean["kind"] == "temporal"
    assert mean["plugin"] == "mean_memory"
    assert mean["distribution"] == "vsr-mean-memory 0.1.0"
    assert listed["broken"] == []
    shown = succeed("vsr_cli", "plugins", "show", "mean-memory", site=bench.site, cwd=bench.work)
    for word in ("temporal.hidden", "integer", "256", "vsr-mean-memory 0.1.0", "--temporal mean-memory"):
        assert word in " ".join(shown.split())


@pytest.mark.slow
def test_options_of_an_installed_plugin_are_validated(bench):
    words = ("--temporal", "mean-memory", "--set", "temporal.hiden=3", "--set", "training.epochs=0")
    done = command("vsr_cli", "train", *words, site=bench.site, cwd=bench.work)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 2
    assert "did you mean hidden?" in done.stderr


@pytest.mark.slow
def test_run_of_a_plugin_names_its_package(bench):
    run = bench.work / "run"
    facts = json.loads((run / "run.json").read_text())
    assert facts["status"] == "finished"
    assert facts["distributions"]["temporal"] == "vsr-mean-memory 0.1.0"
    assert facts["distributions"]["fusion"].startswith("vsr-cli ")
    config = (run / "config.json").read_text()
    assert json.loads(config)["temporal"] == {"name": "mean-memory", "hidden": 24}
    assert "vsr_mean_memory" not in config
    assert len((run / "history.jsonl").read_text().splitlines()) == 1


@pytest.mark.slow
def test_run_of_an_installed_plugin_is_evaluated(bench):
    words = ("evaluate", "--run", "run", "--metrics", "mse", "--json")
    result = json.loads(succeed("vsr_cli", *words, site=bench.site, cwd=bench.work))
    assert 0 <= result["metrics"]["mse"]["value"] <= 1


@pytest.mark.slow
def test_uninstalled_plugin_is_one_line(bench):
    listed = json.loads(succeed("vsr_cli", "plugins", "list", "--json", cwd=bench.work))
    assert "mean-memory" not in {entry["name"] for entry in listed["components"]}
    assert listed["broken"] == []
    for words in (("train", "--temporal", "mean-memory"), ("evaluate", "--run", "run", "--metrics", "mse")):
        done = command("vsr_cli", *words, cwd=bench.work)
        assert done.returncode == 2
        assert done.stdout == ""
        (line,) = done.stderr.splitlines()
        assert "temporal model 'mean-memory': there is none of this name" in line
    assert sorted(path.name for path in bench.work.iterdir()) == ["data", "run"], "a mistake leaves nothing behind"


@pytest.mark.slow
def test_wheel_has_both_packages_and_no_other(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for name in SHIPPED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=IGNORED)
        else:
            shutil.copy(ROOT / name, source / name)
    succeed("hatchling", "build", "-t", "wheel", "-d", tmp_path, cwd=source)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (entry_points,) = [name for name in names if name.endswith(".dist-info/entry_points.txt")]
        parsed = configparser.ConfigParser(delimiters=("=",))
        parsed.read_string(archive.read(entry_points).decode())
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"vsr_cli", "vsr_plugins"}
    assert {"vsr_cli/config/presets/tiny.toml", "vsr_cli/cli/main.py"} <= set(names)
    assert parsed["console_scripts"]["vsr"] == "vsr_cli.entry:run"
    declared = {value.replace(".", "/") for value in parsed["vsr.plugins"].values()}
    assert {f"{module}/__init__.py" for module in declared} <= set(names)


@pytest.fixture
def mean(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLE)
    from vsr_mean_memory import MeanMemoryOptions
    from vsr_mean_memory.model import MeanMemory

    return MeanMemory(MeanMemoryOptions(hidden=8), BuildContext(width=6, steps=4, image_size=32, training_texts=list))


def test_mean_memory_ignores_frame_order(mean):
    frames, mask = torch.randn(3, 4, 6), torch.ones(3, 4, dtype=torch.bool)
    steps, summary = mean(frames, mask)
    assert steps.shape == (3, 4, 6)
    assert torch.equal(summary, steps[:, -1])
    torch.testing.assert_close(mean(frames[:, [2, 0, 3, 1]], mask)[1], summary)
    assert not torch.allclose(mean(frames + 1, mask)[1], summary)


def test_mean_memory_steps_are_causal(mean):
    frames, mask = torch.randn(3, 4, 6), torch.ones(3, 4, dtype=torch.bool)
    changed = frames.clone()
    changed[:, 3] += 1
    torch.testing.assert_close(mean(changed, mask)[0][:, :3], mean(frames, mask)[0][:, :3])
    mask[:, 3] = False
    torch.testing.assert_close(mean(changed, mask)[1], mean(frames[:, :3], mask[:, :3])[1])
