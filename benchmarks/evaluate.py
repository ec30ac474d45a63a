"""Where the time of `vsr evaluate` goes, and what its metrics cost beside the plain libraries.

Run as `python benchmarks/evaluate.py` (about 10 minutes on two idle cores; `--quick`: under 2). It prints three tables:

- `stages`: seconds of each stage of an evaluation, by the preset tiny after one epoch on storyworld, or by `--run RUN
  --data DATA`; `--windows N` scores the first N windows only.
- `metrics`: BLEU, ROUGE and METEOR of five series of texts. The rival calls sacrebleu, rouge-score and nltk for each
  window in one process; `vsr` runs in one process and in several. The scores of all three must be equal.
- `intervals`: the bootstrap over stories. The rival gathers the statistics of every resample. The intervals must be
  equal to nine digits.

Seconds are of this process (wall clock), beside its processor time.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np

STORIES = ["data.test=0.9", "data.validation=0.02"]
SERIES = 5
TEXT_METRICS = ("bleu", "rouge", "meteor")
IN = "vsr_cli.evaluation."
STAGES = {
    "load the run": ["vsr_cli.workflows.evaluation.load_checked"],
    "audit of leaks": [IN + "evaluate.audit"],
    "build metrics, read references": [IN + "evaluate.open_task"],
    "embed the split and training windows": [IN + "model_predictions.embed_split"],
    "predict: encode contexts": ["vsr_cli.model.story_model.StoryModel.encode_context"],
    "predict: generate texts": [
        "vsr_cli.model.story_model.StoryModel._generated",
        "vsr_cli.model.story_model.StoryModel._samples",
    ],
    "predict: select texts (mbr)": ["vsr_cli.model.story_model.select_texts"],
    "predict: generate images": ["vsr_cli.model.story_model.StoryModel._image"],
    "predict: the rest": [IN + "model_predictions.predict_all"],
    "baselines": [IN + "model_predictions.training_baselines", IN + "model_predictions.upper_bound"],
    "metrics in the run's spaces": [IN + "model_predictions.measure_in_spaces"],
    "teacher-forced losses": [IN + "model_predictions.held_out_losses"],
    "metrics of texts and images": [IN + "evaluate.measure"],
    "bootstrap": [IN + "scoring.resampled_scores"],
    "shares of copies": [IN + "evaluate.copied_shares"],
    "store": [IN + "storage.store_evaluation"],
}


class Stopwatch:
    """Seconds and processor seconds of each stage, without those of stages that run inside it."""

    def __init__(self) -> None:
        self.seconds: dict[str, np.ndarray[Any, Any]] = {}
        self._inner: list[np.ndarray[Any, Any]] = []

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            before = now()
            self._inner.append(np.zeros(2))
            try:
                found = function(*args, **options)
                # A generator computes when it is read.
                return list(found) if isinstance(found, Iterator) else found
            finally:
                spent = now() - before
                self.seconds[stage] = self.seconds.get(stage, np.zeros(2)) + spent - self._inner.pop()
                if self._inner:
                    self._inner[-1] += spent

        return call

    @contextmanager
    def running(self) -> Iterator[None]:
        """Measure the stages of what runs in the block."""
        with ExitStack() as patches:
            for stage, targets in STAGES.items():
                for target in targets:
                    holder, _, name = target.rpartition(".")
                    owner = _resolve(holder)
                    patches.enter_context(patch.object(owner, name, self.timed(stage, getattr(owner, name))))
            yield


def _resolve(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name) if name[0].isupper() else importlib.import_module(path)


def now() -> np.ndarray[Any, Any]:
    """Return the wall clock and the processor time of this process, in seconds."""
    return np.array([time.perf_counter(), time.process_time()])


def measured(work: Callable[[], Any]) -> tuple[Any, list[float]]:
    """Return what the work returns, and its seconds and processor seconds."""
    before = now()
    found = work()
    return found, (now() - before).tolist()


def stages(run: Path, data: Path, windows: int | None) -> dict[str, list[float]]:
    """Evaluate a run by the default metrics, and store the result in its folder, as `vsr evaluate` does."""
    from vsr_cli.config.experiment import resolve_evaluation
    from vsr_cli.data.prepared import Prepared
    from vsr_cli.workflows.evaluation import run_evaluate
    from vsr_cli.workflows.settings import load_registry, metric_names, open_with_options

    whole = Prepared.windows

    def first(self: Prepared, split: str) -> Any:
        found = whole(self, split)
        return found.take(np.arange(min(windows or len(found), len(found)))) if split == "test" else found

    registry = load_registry()
    names = metric_names(registry, None)
    opened, (choices, how) = open_with_options(run, [], lambda layers: resolve_evaluation(registry, names, layers))
    watch = Stopwatch()
    with watch.running(), patch.object(Prepared, "windows", first):
        total = measured(lambda: run_evaluate(registry, opened, data, "test", choices, decoding=how))[1]
    known = sum(watch.seconds.values())
    watch.seconds["the rest"] = np.array(total) - known
    return {stage: spent.tolist() for stage, spent in watch.seconds.items()} | {"total": total}


def series_of_texts(data: Path, windows: int) -> tuple[dict[str, Any], Any]:
    """Return the targets of other windows as predictions, in several orders, and the references."""
    from vsr_cli.data.prepared import open_prepared
    from vsr_cli.evaluation.predictions import Predictions, load_references

    prepared = open_prepared(data)
    everything = prepared.windows("test")
    references = load_references(prepared.frames, everything.take(np.arange(min(windows, len(everything)))))
    orders = [np.random.default_rng(number).permutation(len(references.texts)) for number in range(SERIES)]
    images = references.images
    return {
        f"series {number}": Predictions([references.texts[row] for row in order], images)
        for number, order in enumerate(orders)
    }, references


def plain_scores(series: Mapping[str, Any], references: Any) -> dict[str, list[float]]:
    """Return each series' BLEU, ROUGE-L and METEOR by the libraries, as their documentation calls them."""
    from nltk.translate.meteor_score import single_meteor_score
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics.bleu import BLEU

    from vsr_cli.api import split_words_and_punctuation
    from vsr_plugins.metrics.wordnet import WordNet

    rouge, wordnet = RougeScorer(["rougeL", "rouge1", "rouge2"], use_stemmer=True), WordNet()
    scores = {}
    for name, predictions in series.items():
        pairs = list(zip(references.texts, predictions.texts, strict=True))
        bleu = BLEU().corpus_score([text for _, text in pairs], [[truth for truth, _ in pairs]]).score
        overlaps = [rouge.score(truth, text)["rougeL"].fmeasure for truth, text in pairs]
        words = [tuple(map(split_words_and_punctuation, pair)) for pair in pairs]
        meteors = [single_meteor_score(*pair, wordnet=wordnet) for pair in words]
        scores[name] = [bleu, float(np.mean(overlaps)), float(np.mean(meteors))]
    return scores


def text_metrics(data: Path, windows: int) -> tuple[dict[str, list[float]], Callable[[], Any]]:
    """Time the plain libraries and vsr, and return the work of the bootstrap. Raises AssertionError at other scores."""
    from vsr_cli.config.experiment import resolve_metrics
    from vsr_cli.evaluation.scoring import build_metrics, measure, read_references
    from vsr_cli.workflows.settings import load_registry

    series, references = series_of_texts(data, windows)
    choices = resolve_metrics(load_registry(), TEXT_METRICS, [])
    spent, scores, statistics = {}, {}, {}

    def by_vsr(shared: Any) -> Any:
        metrics, _ = read_references(build_metrics(choices)[0], references.texts)
        found = measure(metrics, series, references, shared)
        return {each: [metrics[name].combine(found[name][each])[name] for name in metrics] for each in series}, found

    plain_scores(
        {"warm": series["series 0"].take(np.arange(8))}, SimpleNamespace(texts=references.texts[:8])
    )  # imports
    scores["plain"], spent["plain libraries, one process"] = measured(lambda: plain_scores(series, references))
    (scores["one"], statistics["one"]), spent["vsr, one process"] = measured(lambda: by_vsr(()))
    (scores["several"], statistics["several"]), spent["vsr, several processes"] = measured(lambda: by_vsr(choices))
    assert scores["one"] == scores["several"], "several processes score otherwise than one"
    for name, found in scores["plain"].items():
        assert np.allclose(found, scores["one"][name], rtol=1e-9), f"the plain libraries score otherwise: {name}"
    metrics = read_references(build_metrics(choices)[0], references.texts)[0]
    return spent, lambda: intervals(metrics, statistics["one"], references.stories)


def intervals(metrics: Mapping[str, Any], statistics: Any, stories: Any) -> dict[str, list[float]]:
    """Time the bootstrap of the texts' metrics and of diversity-image on random colours, by windows and by stories."""
    from vsr_cli.evaluation.significance import resampled_scores
    from vsr_plugins.metrics.texture import Spread

    colours = np.random.default_rng(0).random((SERIES, len(stories), 384))
    metrics = {**metrics, "diversity-image": Spread()}
    statistics = {**statistics, "diversity-image": dict(zip(statistics["bleu"], colours, strict=True))}
    by_windows = {name: SimpleNamespace(combine=metric.combine) for name, metric in metrics.items()}
    slow, spent = measured(lambda: resampled_scores(by_windows, statistics, stories))  # type: ignore[arg-type]
    fast, ours = measured(lambda: resampled_scores(metrics, statistics, stories))
    for name, of in slow.items():
        for each, values in of.items():
            assert np.allclose(values, fast[name][each], rtol=1e-9), f"other intervals of {name}"
    return {"statistics gathered for every resample": spent, "vsr, each story added up once": ours}


def show(title: str, rows: Mapping[str, list[float]], *, share_of: str) -> None:
    """Print a table of seconds, each with its share of one row."""
    print(f"\n{title:40} {'seconds':>9} {'processor':>9} {'share':>7}")
    for name, (seconds, processor) in rows.items():
        print(f"{name:40} {seconds:9.2f} {processor:9.2f} {100 * seconds / rows[share_of][0]:6.1f}%")


def small_run(folder: Path, stories: int) -> tuple[Path, Path]:
    """Prepare stories and train one epoch; return the run and its data."""
    from vsr_cli.workflows.preparation import run_prepare
    from vsr_cli.workflows.settings import load_registry, train_config
    from vsr_cli.workflows.stories import prepare_config
    from vsr_cli.workflows.training import run_train

    found = load_registry()
    assignments = [f"dataset.stories={stories}", *STORIES]
    config = prepare_config(found, dataset="storyworld", preset="tiny", flags={}, assignments=assignments)
    prepared = run_prepare(config, None, folder / "data")
    flags = {"training.epochs": 1}
    settings = train_config(
        found, manifest=prepared.manifest, preset=None, config=None, flags=flags, assignments=["features.limit=1"]
    )
    run = run_train(settings, prepared.folder, folder / "run")
    return run.folder, prepared.folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="100 windows in stages and 600 elsewhere, instead of 5,000"
    )
    parser.add_argument("--run", type=Path, help="a trained run, whose evaluation is replaced: name a copy")
    parser.add_argument("--data", type=Path, help="its prepared folder")
    parser.add_argument("--windows", type=int, help="score the first N windows only")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    tables: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        if options.run:
            tables["stages"] = stages(options.run, options.data, options.windows)
        else:
            run, data = small_run(Path(folder), 240 if options.quick else 2000)
            tables["stages"] = stages(run, data, options.windows or (100 if options.quick else None))
            tables["metrics"], bootstrap = text_metrics(data, options.windows or (600 if options.quick else 5000))
            tables["intervals"] = bootstrap()
    if options.json:
        print(json.dumps(tables, indent=2))
        return
    import torch

    print(f"{os.cpu_count()} cores, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}")
    for title, rows in tables.items():
        show(title, rows, share_of="total" if title == "stages" else next(iter(rows)))


if __name__ == "__main__":
    main()
