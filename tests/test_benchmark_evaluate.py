"""The benchmark of evaluation measures stages that exist."""

import importlib.util
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("benchmark_evaluate", BENCHMARKS / "evaluate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_stage_is_a_function_of_vsr_and_is_timed(benchmark):
    watch = benchmark.Stopwatch()
    with watch.running():
        for targets in benchmark.STAGES.values():
            for target in targets:
                holder, _, name = target.rpartition(".")
                assert callable(getattr(benchmark._resolve(holder), name))
    assert not watch.seconds
    assert watch.timed("a stage", lambda: 3)() == 3
    assert set(watch.seconds) == {"a stage"}
