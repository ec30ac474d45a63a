"""Fixtures of all tests."""

import gc
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from vsr_cli.entry import COLLECTED_TOGETHER

from .browser import CHROMIUM, opened_browser
from .skips import fail_unexpected_skip

PRECISIONS = ("fp32", "bf16")
BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

# One thread a process: tests run side by side, and a run is repeatable to the bit.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# No test needs the network; one that would ask for it fails at once instead of waiting.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# As in the program: with Python's own threshold, an eighth of the time of tests is the search for garbage.
gc.set_threshold(COLLECTED_TOGETHER)
# What Python has translated is kept, also where the environment forbids it, as in many containers: else each process of
# a test would translate the package anew, and pytest all tests.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# A shell's background job ignores SIGINT, and nohup SIGHUP; children inherit that, and nothing would be interrupted.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let every test that trains do so in one precision: `pytest --precision bf16`."""
    parser.addoption("--precision", choices=PRECISIONS, help="what tests train in; by default fp32, and some in both")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Return each test that trains its precision: both to those marked so, unless one was asked for."""
    if "precision" in metafunc.fixturenames:
        asked = metafunc.config.getoption("--precision")
        both = asked is None and metafunc.definition.get_closest_marker("both_precisions")
        # Always a parameter, hidden where it is the only one: else what was set up for one would serve the next test.
        values = PRECISIONS if both else [pytest.param(asked or PRECISIONS[0], id=pytest.HIDDEN_PARAM)]
        metafunc.parametrize("precision", values, indirect=True, scope="session")


@pytest.hookimpl(trylast=True)  # pytest's own order, by the parameters of fixtures, comes before
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run files with slow tests first, so that no process works on one alone at the end of `pytest -n`."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    all_tests = Counter(item.path for item in items)
    items.sort(key=lambda item: (-slow[item.path], -all_tests[item.path]))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """Let no test be skipped in CI that need not be."""
    report = yield
    fail_unexpected_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector):
    """Let no module be skipped in CI that need not be."""
    report = yield
    fail_unexpected_skip(report)
    return report


@pytest.fixture(scope="session")
def precision(request: pytest.FixtureRequest) -> str:
    """Return what a test that trains takes products in."""
    return request.param


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory):
    """Keep the features that tests compute out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VSR_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _same_random_numbers():
    """Seed torch where a test has loaded it, so that no test depends on those before it."""
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _any_precision():
    """Let accelerate forget the precision of the test before, as no process but a test's ever has to."""
    forget_precision()


def forget_precision() -> None:
    if state := sys.modules.get("accelerate.state"):
        state.AcceleratorState._reset_state()


@pytest.fixture
def nothing_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use empty caches of torch and of the Hub, with downloads off, and return their folder."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path


@pytest.fixture(scope="session")  # playwright runs once in a process
def browser():
    """A headless Chromium."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed here")
    with opened_browser() as opened:
        yield opened


@pytest.fixture(scope="session")
def small_settings(precision: str) -> list[str]:
    """Return settings with which the tiny preset trains in a second."""
    return [
        "model.width=16",
        "visual.size=32",
        "text.channels=16",
        "text.vocabulary_size=500",
        "text_decoder.length=24",
        "image_decoder.channels=16",
        "training.device=cpu",
        "training.batch_size=4",
        "training.epochs=2",
        f"training.precision={precision}",
    ]


@pytest.fixture
def load_benchmark(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Return the function that imports a file of benchmarks/ by its name; they import each other."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def load(name: str) -> ModuleType:
        spec = spec_from_file_location(name, BENCHMARKS / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def prepare_ten_stories(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Prepare ten small stories: prepare_ten_stories("data.test=0.3") returns the folder."""
    from vsr_cli.plugin.discovery import registry
    from vsr_cli.workflows.preparation import run_prepare
    from vsr_cli.workflows.stories import prepare_config

    def prepare(*assignments: str) -> Path:
        settings = ["dataset.stories=10", "dataset.width=96", "dataset.height=48", *assignments]
        config = prepare_config(registry(), dataset="storyworld", preset="tiny", flags={}, assignments=settings)
        return run_prepare(config, None, tmp_path_factory.mktemp("data") / "storyworld").folder

    return prepare


@pytest.fixture(scope="session")
def small_data(prepare_ten_stories: Callable[..., Path]) -> Path:
    """Prepare ten small stories, of which one is held out for validation and one for the test."""
    return prepare_ten_stories("data.image_size=32")


@pytest.fixture(scope="session")
def train_small(small_data: Path, small_settings: list[str]) -> Callable:
    """Train a small model: train_small(folder, "training.epochs=3") returns the run."""
    from vsr_cli.data.prepared import open_prepared
    from vsr_cli.plugin.discovery import registry
    from vsr_cli.workflows.settings import train_config
    from vsr_cli.workflows.training import run_train

    def train(out: Path, *assignments: str, data: Path = small_data):
        manifest = open_prepared(data).manifest
        settings = [*small_settings, *assignments]
        forget_precision()
        config = train_config(registry(), manifest=manifest, preset=None, config=None, flags={}, assignments=settings)
        return run_train(config, data, out)

    return train


@pytest.fixture
def at_step(monkeypatch: pytest.MonkeyPatch) -> Callable:
    """Replace the losses of the n-th training step: at_step(3, act), where act takes and returns losses."""
    from vsr_cli.model.story_model import StoryModel

    forward, calls, acts = StoryModel.losses, [], {}

    def changed(self, context, target, *more):
        losses = forward(self, context, target, *more)
        if not self.training:
            return losses
        calls.append(None)
        return acts.get(len(calls), lambda same: same)(losses)

    def arrange(step: int, act: Callable) -> None:
        calls.clear()
        acts.clear()
        acts[step] = act
        monkeypatch.setattr(StoryModel, "losses", changed)

    return arrange
