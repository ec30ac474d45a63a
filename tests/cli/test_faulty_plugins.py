"""A plugin that fails while a command runs is one line with its name and exit code 1; stdout has results only."""

import importlib
import json
import sys

import pytest

from vsr_cli.plugin import discovery
from vsr_cli.runs.run import Run

PLUGIN = """
from vsr_cli.api import Component, hookimpl

@hookimpl
def vsr_temporal_models():
    return [Component(name="nasty", summary="[red]nasty[/red] \\x1b[31m", build="nasty.model:build")]

@hookimpl
def vsr_metrics():
    return [Component(name="nasty", summary="x", build="nasty.model:build_metric")]

@hookimpl
def vsr_datasets():
    return [Component(name="nasty", summary="x", build="nasty.model:build_dataset")]
"""
MODEL = """
import ctypes, os, sys, warnings
import numpy as np, torch
from torch import nn
from vsr_cli.api import Story, VsrError

class Panic(BaseException):
    pass

class Model(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layer = nn.Linear(width, width)
    def forward(self, frames, mask):
        steps = self.layer(frames)
        result = steps, steps[:, -1]
        act = os.environ["NASTY"]
        space = {**globals(), "result": result, "steps": steps, "training": self.training}
        exec(act, space)
        return space["result"]

class Metric:
    scale, better, signature = "0-1, higher is better", "higher", "nasty"
    def measure(self, samples):
        exec(os.environ["NASTY"], globals())
        return np.zeros((len(samples), 1))
    def combine(self, statistics):
        return {"nasty": float(statistics.mean())}

class Dataset:
    def read(self, source):
        exec(os.environ["NASTY"], globals())
        yield Story(id="one", frames=())
    def describe(self, source):
        return {"source": "nasty"}

def build(options, context):
    return Model(context.width)

def build_metric(options):
    return Metric()

def build_dataset(options):
    return Dataset()
"""
TRAIN = (
    "train --preset tiny --data {data} --temporal nasty --epochs 1 --batch-size 4 --out run --set model.width=16 "
    "--set visual.size=32 --set text.channels=16 --set text.vocabulary_size=500 --set text_decoder.length=24 "
    "--set image_decoder.channels=16"
)


@pytest.fixture
def nasty(empty, monkeypatch):
    """Install a plugin whose code does what an environment variable says: nasty("raise ValueError")."""
    site = empty / "site"
    (site / "nasty").mkdir(parents=True)
    (site / "nasty" / "__init__.py").write_text(PLUGIN)
    (site / "nasty" / "model.py").write_text(MODEL)
    facts = site / "nasty-0.1.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: nasty\nVersion: 0.1\n")
    (facts / "entry_points.txt").write_text("[vsr.plugins]\nnasty = nasty\n")
    monkeypatch.syspath_prepend(site)
    importlib.invalidate_caches()
    discovery.registry.cache_clear()
    yield lambda act: monkeypatch.setenv("NASTY", act)
    discovery.registry.cache_clear()
    for module in ("nasty", "nasty.model"):
        sys.modules.pop(module, None)


@pytest.mark.parametrize(
    ("act", "words"),
    [
        ("raise RuntimeError('no [/red] licence\\x1b[31m\\nerror: forged')", "raised RuntimeError in <module>"),
        ("sys.exit(0)", "ended the program (exit code 0)"),
        ("raise EOFError", "raised EOFError"),
        ("raise Panic('as in Rust')", "raised Panic"),
        (
            "result = None",
            "temporal model 'nasty' of plugin nasty (nasty 0.1): returns a NoneType, not a pair of steps",
        ),
        ("result = tuple(each.double() for each in result)", "returns steps of torch.float64"),
        ("torch.set_default_dtype(torch.float64)", "changes torch's default dtype"),
        ("torch.manual_seed(0)", "changes torch's random seed"),
    ],
)
def test_training_error_names_the_plugin(vsr, nasty, empty, small_data, act, words):
    nasty(act)
    done = vsr(TRAIN.format(data=small_data))
    assert done.code == 1, done.err
    (line,) = done.errors
    assert "plugin nasty (nasty 0.1)" in line
    assert words in line
    assert "\x1b" not in done.err
    assert Run(empty / "run").facts()["status"] == "failed"
    assert "plugin nasty (nasty 0.1)" in Run(empty / "run").facts()["problem"]


def test_vsr_error_of_a_plugin_is_a_usage_error(vsr, nasty, small_data):
    nasty("raise VsrError('nasty: the option is wrong; set another')")
    done = vsr(TRAIN.format(data=small_data))
    assert (done.code, done.errors) == (2, ["nasty: the option is wrong; set another"])


def test_nan_names_the_plugin(vsr, nasty, small_data):
    nasty("result = tuple(each * float('nan') for each in result)")
    done = vsr(TRAIN.format(data=small_data))
    assert done.code != 0
    (line,) = done.errors
    assert "temporal model 'nasty' of plugin nasty (nasty 0.1) is the first whose output is not finite" in line


def test_plugin_prints_to_stderr_and_later_commands_name_it(vsr, nasty, empty, small_data, write_story):
    nasty("print('hello \\x1b[31mthere')")
    done = vsr(f"{TRAIN.format(data=small_data)} --json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["status"] == "finished"
    assert "hello \\x1b[31mthere" in done.err
    story = write_story(empty / "story", 4)

    predicted = vsr(f"predict {story} --run run --json")
    assert predicted.code == 0, predicted.err
    assert json.loads(predicted.out)["story"] == "story"
    for act, words in {
        "raise RuntimeError('gone')": "raised RuntimeError",
        "torch.set_grad_enabled(True)": "changes torch's gradient mode",
        "result = tuple(each * float('nan') for each in result)": "returns numbers that are not finite",
        "os.chdir('/')": "changes the working folder",
    }.items():
        nasty(act)
        done = vsr(f"predict {story} --run run --json")
        assert (done.code, done.out) == (1, ""), done.err
        (line,) = done.errors
        assert words in line
        assert "plugin nasty (nasty 0.1)" in line

    for act, words in {
        "raise RuntimeError('gone')": "raised RuntimeError",
        "sys.exit(0)": "ended the program",
        "torch.set_default_dtype(torch.float64)": "metric 'nasty' of plugin nasty (nasty 0.1) changes torch's default",
    }.items():
        nasty(_in_the_metric_alone(act))
        done = vsr("evaluate --run run --metrics nasty bleu --json")
        assert (done.code, done.out) == (1, ""), done.err
        assert words in done.errors[0]


def _in_the_metric_alone(act):
    """Let the model, which has `result` in sight, do nothing."""
    return f"if 'result' not in globals():\n    {act}"


@pytest.mark.parametrize(
    ("act", "words"),
    [
        ("raise RuntimeError('gone')", "raised RuntimeError"),
        ("sys.exit(0)", "ended the program (exit code 0)"),
        ("os.chdir('/')", "dataset Dataset of plugin nasty (nasty 0.1) changes the working folder"),
    ],
)
def test_prepare_error_names_the_dataset_plugin(vsr, nasty, act, words):
    nasty(act)
    done = vsr("prepare --dataset nasty --preset tiny --out data")
    assert done.code == 1, done.err
    (line,) = done.errors
    assert words in line
    assert "plugin nasty (nasty 0.1)" in line


def test_traceback_is_shown_on_request(vsr, nasty, small_data, monkeypatch):
    nasty("raise RuntimeError('no licence')")
    monkeypatch.setenv("VSR_TRACEBACK", "1")
    done = vsr(TRAIN.format(data=small_data))
    assert done.code == 1
    assert "Traceback" in done.err
    assert "nasty/model.py" in done.err


def test_plugin_names_and_summaries_are_escaped(vsr, nasty):
    nasty("pass")
    assert r"[red]nasty[/red] \x1b[31m" in vsr("plugins list").out
