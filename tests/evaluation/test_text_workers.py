"""Metrics of texts in several processes: the same statistics as in one, and nothing left behind."""

import subprocess
import sys

import numpy as np
import pytest

from vsr_cli.config.experiment import resolve_metrics
from vsr_cli.data.shards import ArrayRows
from vsr_cli.evaluation import scoring, text_workers
from vsr_cli.evaluation.predictions import Predictions, References
from vsr_cli.evaluation.scoring import build_metrics, measure, read_references
from vsr_cli.plugin.discovery import DISABLE_VARIABLE, registry

TEXTS_ONLY = ("bleu", "bleu-lower", "rouge", "meteor", "chrf", "cider", "distinct-2", "rep-4", "context-overlap-4")
WINDOWS = 70
WORDS = ["the", "dogs", "ran", "home", "early;", "don't", "“go”", "我们", "quick", "large", "big", "café", "🐶", "0.5"]


@pytest.fixture
def several_processes(monkeypatch):
    monkeypatch.setattr(text_workers, "WORTHWHILE", WINDOWS - 1)
    monkeypatch.setattr(text_workers, "WINDOWS_PER_WORKER", 1)
    monkeypatch.setattr(text_workers, "usable_cores", lambda: 2)


@pytest.fixture
def here(monkeypatch):
    """Record the names of the metrics that this process measures by."""
    names, measured = [], scoring._measured
    monkeypatch.setattr(scoring, "_measured", lambda name, *rest: names.append(name) or measured(name, *rest))
    return names


def choices(*names):
    return resolve_metrics(registry(), names, [])


def windows():
    random = np.random.default_rng(0)

    def texts():
        return [" ".join(random.choice(WORDS, size=random.integers(0, 12))) for _ in range(WINDOWS)]

    images = ArrayRows(random.integers(0, 256, (WINDOWS, 4, 4, 3), dtype=np.uint8))
    context = list(zip(texts(), texts(), strict=True))
    references = References([f"s{row // 2}" for row in range(WINDOWS)], context, texts(), images)
    return {"model": Predictions(texts(), images), "copy-last": Predictions(texts(), images)}, references


def measured(chosen, series, references, *, parallel=True):
    metrics, _ = read_references(build_metrics(chosen)[0], references.texts)
    return measure(metrics, series, references, chosen if parallel else ())


def same(one, other):
    return list(one) == list(other) and all(
        list(one[name]) == list(other[name])
        and all(one[name][each].dtype == other[name][each].dtype for each in one[name])
        and all(one[name][each].tobytes() == other[name][each].tobytes() for each in one[name])
        for name in one
    )


def test_statistics_of_several_processes_are_those_of_one_to_the_last_bit(several_processes, here):
    chosen, (series, references) = choices(*TEXTS_ONLY, "mse"), windows()
    parallel = measured(chosen, series, references)
    assert set(here) == {"mse"}
    serial = measured(chosen, series, references, parallel=False)
    assert set(here) == {*TEXTS_ONLY, "mse"}
    assert same(parallel, serial)
    assert len(np.unique(serial["meteor"]["model"])) > WINDOWS / 2


def test_if_the_workers_fail_this_process_measures(several_processes, here, monkeypatch):
    monkeypatch.setenv(DISABLE_VARIABLE, "metrics")  # which only a new process reads
    chosen, (series, references) = choices("bleu", "mse"), windows()
    parallel = measured(chosen, series, references)
    assert set(here) == {"bleu", "mse"}
    assert same(parallel, measured(chosen, series, references, parallel=False))


def test_few_windows_start_no_process(monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", lambda *line, **options: pytest.fail("a process was started"))
    monkeypatch.setattr(text_workers, "usable_cores", lambda: 2)
    chosen, (series, references) = choices("bleu"), windows()
    assert list(measured(chosen, series, references)) == ["bleu"]


def test_no_process_is_left_when_the_block_is_interrupted(several_processes):
    _, references = windows()

    def interrupted():
        with text_workers.text_workers(choices("bleu"), references.texts, [], advance=print) as workers:
            processes.extend(workers._processes)
            raise KeyboardInterrupt

    processes = []
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(processes) == 2
    assert all(process.returncode is not None for process in processes)


def test_a_worker_imports_no_torch():
    request = f"""
import io, sys
from vsr_cli.config.experiment import resolve_metrics
from vsr_cli.evaluation import text_workers
from vsr_cli.plugin.discovery import registry
import json
chosen = [
    {{"name": each.name, "from": text_workers._source(each.provided), "options": each.options.model_dump(mode="json")}}
    for each in resolve_metrics(registry(), {TEXTS_ONLY!r}, [])
]
lines = [{{"metrics": chosen, "references": ["a dog ran", "a cat"]}}, [["s", ["a dog"], "a dog sat", "a dog ran"]]]
answers = io.StringIO()
text_workers._work(io.StringIO("".join(json.dumps(line) + chr(10) for line in lines)), answers)
assert len(json.loads(answers.getvalue())) == len(chosen)
assert "torch" not in sys.modules, "torch"
"""
    done = subprocess.run([sys.executable, "-c", request], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
