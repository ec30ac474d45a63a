"""Metric statistics of predictions, and the scores that they combine to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..api import Metric, ReadsReferences, Sample, SpaceMetric
from ..api.metrics import score_range
from ..config.resolve import Choice
from ..data.cache.encoding import BATCH
from ..data.prepared import Prepared
from ..data.prepared_types import Windows
from ..data.scratch import roomy_array
from ..errors import PluginError, VsrError
from ..plugin.faults import owner_of
from ..plugin.loading import build
from ..plugin.shared_state import shared_state
from ..progress import progress
from .embeddings import Statistics, Unavailable
from .predictions import Predictions, References, load_mentions, load_references
from .significance import Series, compared, interval, resampled_scores
from .text_workers import text_workers, texts_only

FAR = 0.1
"""Share of a metric's highest score that its upper bound may lack before a warning says so."""
AnyMetric = TypeVar("AnyMetric", Metric, Metric | SpaceMetric)


@dataclass(frozen=True)
class Task:
    """What is scored, whoever predicted it: windows of a split, their references, and the metrics."""

    prepared: Prepared
    split: str
    windows: Windows
    references: References
    metrics: Mapping[str, Metric | SpaceMetric]
    """Those that can run, by name."""
    unavailable: Mapping[str, str]
    """Why the others cannot."""


def open_task(prepared: Prepared, split: str, windows: Windows, choices: Sequence[Choice]) -> Task:
    """Build the metrics, and load the references that they read."""
    metrics, unavailable = build_metrics(choices)
    references = load_references(prepared.frames, windows)
    unavailable |= {name: why for name, metric in metrics.items() if (why := foreign_data(name, metric, prepared))}
    metrics = {name: metric for name, metric in metrics.items() if name not in unavailable}
    metrics, unreadable = read_references(metrics, references.texts)
    unavailable |= unreadable
    asking = [name for name, metric in metrics.items() if reads_mentions(metric)]
    if asking:
        mentions = load_mentions(prepared, windows)
        if any(frame for window in mentions for frame in window):
            references = replace(references, mentions=mentions)
        else:
            why = f"{prepared.folder} marks no entities; prepare stories that do, such as story-reasoning or storyworld"
            unavailable |= {name: f"{name}: {why}" for name in asking}
            metrics = {name: metric for name, metric in metrics.items() if name not in asking}
    return Task(prepared, split, windows, references, metrics, unavailable)


def build_metrics(choices: Sequence[Choice]) -> tuple[dict[str, Metric | SpaceMetric], dict[str, str]]:
    """Build the metrics that can run here. Also return why the others cannot."""
    runnable: dict[str, Metric | SpaceMetric] = {}
    unavailable: dict[str, str] = {}
    for choice in choices:
        try:
            runnable[choice.name] = build(choice.provided, choice.options)
        except VsrError as error:
            unavailable[choice.name] = str(error)
    return runnable, unavailable


def check_available(metrics: Mapping[str, object], unavailable: Mapping[str, str]) -> None:
    """Raise VsrError with all reasons, a line each, if none of the requested metrics can run."""
    if not metrics:
        raise VsrError(*dict.fromkeys(unavailable.values()))


def read_references(
    metrics: Mapping[str, AnyMetric], references: Sequence[str]
) -> tuple[dict[str, AnyMetric], dict[str, str]]:
    """Pass all references to the metrics that read them. Return the usable metrics, and why others are not."""
    usable: dict[str, AnyMetric] = {}
    unavailable: dict[str, str] = {}
    for name, metric in metrics.items():
        try:
            if isinstance(metric, ReadsReferences):
                metric.read_references(references)
        except VsrError as error:
            unavailable[name] = str(error)
        else:
            usable[name] = metric
    return usable, unavailable


def foreign_data(name: str, metric: Metric | SpaceMetric, prepared: Prepared) -> str | None:
    """Return why a metric that is defined for one dataset cannot score other data; None where it can."""
    own, scored = getattr(metric, "dataset", None), prepared.manifest["dataset"]["name"]
    if own in (None, scored):
        return None
    return f"{name}: is defined for images of {own} only (got data of {scored}); leave it out"


def reads_mentions(metric: Metric | SpaceMetric) -> bool:
    """Return whether a metric needs a source that marks entities."""
    return bool(getattr(metric, "reads_mentions", False))


def measure(
    metrics: Mapping[str, Metric],
    series: Mapping[str, Predictions],
    references: References,
    choices: Sequence[Choice] = (),
) -> Statistics:
    """Measure every series on every window, by each metric of texts and pixels, which has read the references.

    Metrics of texts that are among the choices are measured in other processes if there are many windows, at the same
    time as the others here; the statistics are the same.
    """
    if not metrics:
        return {}
    count = len(references.stories)
    batches = [
        (each, np.arange(start, min(start + BATCH, count))) for start in range(0, count, BATCH) for each in series
    ]
    shared = [choice for choice in choices if texts_only(metrics.get(choice.name))]
    texts = [partial(references.window_texts, series[each], rows) for each, rows in batches]
    gathered = _Gathered(count)
    with progress() as bar:
        task = bar.add_task("scoring", total=count * len(series))

        def measure_here(names: Sequence[str]) -> None:
            for each, rows in batches if names else ():
                samples = references.samples(series[each], rows)
                for name in names:
                    gathered.add(name, each, rows, _measured(name, metrics[name], samples))
                bar.advance(task, len(rows))

        def advance(index: int) -> None:
            bar.advance(task, len(batches[index][1]))

        with text_workers(shared, references.texts, texts, advance=advance) as workers:
            elsewhere = [choice.name for choice in shared] if workers else []
            here = [name for name in metrics if name not in elsewhere]
            bar.update(task, total=count * len(series) * (bool(here) + bool(elsewhere)))
            measure_here(here)
            if workers and (measured := workers.join()):
                for (each, rows), batch in zip(batches, measured, strict=True):
                    for name, statistics in batch.items():
                        gathered.add(name, each, rows, statistics)
            elif workers:
                measure_here(elsewhere)  # where the error of a metric has its usual message
    return {name: gathered.statistics[name] for name in metrics}


class _Gathered:
    """The statistics of all windows, which are not held in memory unless they are few."""

    def __init__(self, windows: int) -> None:
        self.statistics: Statistics = {}
        self._windows = windows

    def add(self, name: str, series: str, rows: NDArray[np.int64], found: NDArray[np.float64]) -> None:
        """Add those of some windows (n,), (n, S). Raises PluginError if S is not that of other windows."""
        of_metric = self.statistics.setdefault(name, {})
        if series not in of_metric:
            of_metric[series] = roomy_array((self._windows, found.shape[1]), np.float64)
        if found.shape[1] != of_metric[series].shape[1]:
            raise PluginError(
                f"metric '{name}': measured {found.shape[1]} statistics of some windows and "
                f"{of_metric[series].shape[1]} of others; report it to its authors"
            )
        of_metric[series][rows] = found


def _measured(name: str, metric: Metric, samples: Sequence[Sample]) -> NDArray[np.float64]:
    """Measure some windows (n, S). Raises PluginError at any other shape, or if the metric changes shared state."""
    who = f"metric '{name}' of {owner_of(type(metric).__module__) or 'this package'}"
    with shared_state(who):
        statistics: Any = metric.measure(samples)
    if not isinstance(statistics, np.ndarray) or statistics.ndim != 2 or len(statistics) != len(samples):
        form = statistics.shape if isinstance(statistics, np.ndarray) else type(statistics).__name__
        raise PluginError(f"{who}: measured {form} for {len(samples)} windows, not (n, S); report it to its authors")
    return statistics


def metric_results(
    task: Task, series: Mapping[str, Predictions | Unavailable], statistics: Statistics, *, signature: str
) -> dict[str, dict[str, Any]]:
    """Score each metric with its baselines and upper bound, and intervals where there are enough stories."""
    resampled = resampled_scores(task.metrics, statistics, task.windows.stories)
    missing = {each: {"unavailable": what.reason} for each, what in series.items() if isinstance(what, Unavailable)}
    results: dict[str, dict[str, Any]] = {name: {"unavailable": reason} for name, reason in task.unavailable.items()}
    for name, metric in task.metrics.items():
        result = score_series(name, metric, statistics[name], resampled.get(name))
        result["caution"] = upper_bound_caution(name, metric, result["upper_bound"]) or own_caution(
            metric, len(task.windows)
        )
        result["signature"] = f"metric:{name}|{metric.signature}|{signature}"
        baselines = {**result["baselines"], **missing}
        order = [*(each for each in series if each in baselines), *(each for each in baselines if each not in series)]
        results[name] = result | {"baselines": {each: baselines[each] for each in order}}
    return results


def score_series(
    name: str,
    metric: Metric | SpaceMetric,
    statistics: Series,
    resampled: Series | None,
) -> dict[str, Any]:
    """Return the result of one metric: the model's score, each baseline with its verdict, and the upper bound.

    `resampled` holds each series' headline score on each resample; None: neither intervals nor verdicts.
    """
    (headline, value), *components = metric.combine(statistics["model"]).items()
    assert headline == name, f"the first score of {name} is called {headline}"
    baselines: dict[str, dict[str, Any]] = {}
    for baseline in statistics:
        if baseline in ("model", "upper_bound"):
            continue
        baseline_value = metric.combine(statistics[baseline])[name]
        baselines[baseline] = {
            "value": baseline_value,
            "difference": value - baseline_value,
            "ci95": None,
            "verdict": None,
        }
        if resampled is not None:
            baselines[baseline] |= compared(resampled["model"], resampled[baseline], metric)
    return {
        "value": value,
        "ci95": None if resampled is None else interval(resampled["model"], score_range(metric)),
        "scale": metric.scale,
        "better": metric.better,
        "components": {score: number if np.isfinite(number) else None for score, number in components},
        "baselines": baselines,
        "upper_bound": metric.combine(statistics["upper_bound"])[name] if "upper_bound" in statistics else None,
    }


def own_caution(metric: Metric | SpaceMetric, windows: int) -> str | None:
    """Return what a metric warns of where it scores so many windows."""
    found: str | None = metric.caution(windows) if hasattr(metric, "caution") else None
    return found


def upper_bound_caution(name: str, metric: Metric | SpaceMetric, bound: float | None) -> str | None:
    """Return a warning if the references score far from the highest score, `perfect`, against themselves.

    None for a metric without such a score (how varied texts are), or where nothing was scored against itself.
    """
    perfect = getattr(metric, "perfect", None)
    if perfect is None or bound is None or abs(perfect - bound) <= FAR * abs(perfect):
        return None
    return (
        f"{name}: the references score only {bound:.4g} of {perfect:g} against themselves, and no prediction can score "
        "more: they are very short, longer than the decoder can write, cased where it writes lower case, or in a "
        "script that its tokenizer does not split; compare scores with this upper bound"
    )


class ScoredLines(Sequence[dict[str, Any]]):
    """The scored windows as lines of predictions.jsonl, each made when it is needed."""

    def __init__(self, task: Task, predictions: Predictions, statistics: Statistics) -> None:
        self._task = task
        self._predictions = predictions
        self._measured = {name: statistics[name]["model"] for name in task.metrics}

    def __len__(self) -> int:
        return len(self._task.windows)

    def __getitem__(self, number: Any) -> Any:
        row = range(len(self))[number]
        windows, predictions, start = self._task.windows, self._predictions, int(self._task.windows.starts[row])
        return {
            "story": windows.stories[row],
            "start": start,
            "context": list(range(start + 1, start + windows.text_rows.shape[1])),
            "text": predictions.texts[row] if predictions.shown is None else predictions.shown[row],
            "prediction": predictions.texts[row],
            "reference": self._task.references.texts[row],
            "scores": {
                name: metric.combine(self._measured[name][row : row + 1])[name]
                for name, metric in self._task.metrics.items()
            },
        }
