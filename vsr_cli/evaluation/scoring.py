"""From answers to scores: statistics of every metric on every series, and what they come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..api import Comparison, Metric, ReadsReferences, Sample, SpaceMetric
from ..config.resolve import Choice
from ..console import progress
from ..data.prepared import Prepared, Windows
from ..errors import PluginError, VsrError
from ..model.losses.held_out import BATCH
from ..model.spaces import Vectors
from ..plugin.faults import owner_of
from ..plugin.loading import build
from ..plugin.shared_state import shared_state
from .baselines import WindowVectors
from .series import Queries, Series, Truth, read_mentions

AnyMetric = TypeVar("AnyMetric", Metric, Metric | SpaceMetric)
Statistics = dict[str, dict[str, NDArray[np.float64]]]
"""Of each metric, of each series: (W, S)."""


def build_metrics(choices: Sequence[Choice]) -> tuple[dict[str, Metric | SpaceMetric], dict[str, str]]:
    """Build the metrics that can run here, and say of the others what they lack."""
    runnable: dict[str, Metric | SpaceMetric] = {}
    unavailable: dict[str, str] = {}
    for choice in choices:
        try:
            runnable[choice.name] = build(choice.provided, choice.options)
        except VsrError as error:
            unavailable[choice.name] = str(error)
    return runnable, unavailable


def check_available(metrics: Mapping[str, object], unavailable: Mapping[str, str]) -> None:
    """Raise VsrError with all reasons, a line each, if not one of the requested metrics can run."""
    if not metrics:
        raise VsrError(*dict.fromkeys(unavailable.values()))


def part_by_mentions(
    metrics: Mapping[str, Metric | SpaceMetric], prepared: Prepared, windows: Windows, truth: Truth
) -> tuple[dict[str, Metric | SpaceMetric], dict[str, str], Truth]:
    """Look up what the source marks if a metric asks, and let metrics read the references.

    Returns the metrics that can run, why others cannot, and the truth.
    """
    metrics, unreadable = read_references(metrics, truth.references)
    asking = [name for name, metric in metrics.items() if reads_mentions(metric)]
    if not asking:
        return metrics, unreadable, truth
    mentions = read_mentions(prepared, windows)
    if any(frame for window in mentions for frame in window):
        return metrics, unreadable, replace(truth, mentions=mentions)
    why = (
        f"{prepared.folder} marks no entities; prepare stories that do, as --dataset story-reasoning and storyworld do"
    )
    marked = {name: metric for name, metric in metrics.items() if name not in asking}
    return marked, unreadable | {name: f"{name}: {why}" for name in asking}, truth


def read_references(
    metrics: Mapping[str, AnyMetric], references: Sequence[str]
) -> tuple[dict[str, AnyMetric], dict[str, str]]:
    """Let each metric that asks read all references. Returns the metrics that can use them, and why others cannot."""
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


def reads_mentions(metric: Metric | SpaceMetric) -> bool:
    """Say whether a metric is of use only where the source marks entities."""
    return bool(getattr(metric, "reads_mentions", False))


def measure(metrics: Mapping[str, Metric], series: Mapping[str, Series], truth: Truth) -> Statistics:
    """Measure every answer to every window, by each metric of texts and pixels."""
    count = len(truth.stories)
    found: dict[str, dict[str, list[NDArray[np.float64]]]] = {name: {each: [] for each in series} for name in metrics}
    if not metrics:
        return {}
    for metric in metrics.values():
        if isinstance(metric, ReadsReferences):
            metric.read_references(truth.references)
    with progress() as bar:
        task = bar.add_task("scoring", total=count * len(series))
        for start in range(0, count, BATCH):
            rows = np.arange(start, min(start + BATCH, count))
            for each, answers in series.items():
                samples = truth.samples(answers, rows)
                for name, metric in metrics.items():
                    found[name][each].append(_measured(name, metric, samples))
                bar.advance(task, len(rows))
    return {name: {each: np.concatenate(parts) for each, parts in kept.items()} for name, kept in found.items()}


def _measured(name: str, metric: Metric, samples: Sequence[Sample]) -> NDArray[np.float64]:
    """Measure some windows (n, S). Raises PluginError if the metric gives anything else, or changes what is shared."""
    who = f"metric '{name}' of {owner_of(type(metric).__module__) or 'this package'}"
    with shared_state(who):
        statistics: Any = metric.measure(samples)
    if not isinstance(statistics, np.ndarray) or statistics.ndim != 2 or len(statistics) != len(samples):
        form = statistics.shape if isinstance(statistics, np.ndarray) else type(statistics).__name__
        raise PluginError(f"{who}: measured {form} for {len(samples)} windows, not (n, S); report it to its authors")
    return statistics


@dataclass(frozen=True)
class Candidates:
    """The distinct targets of a split, and which of them each scored window's own is ranked among."""

    rows: NDArray[np.int64]
    """(C,), of the frames' images or texts."""
    answer: NDArray[np.int64]
    """(W,)."""
    rivals: NDArray[np.bool_]
    """(W, C)."""
    later: NDArray[np.bool_]
    """(W, C)."""


def candidates(
    rows: NDArray[np.int64], starts: NDArray[np.int64], stories: Sequence[str], kept: NDArray[np.int64]
) -> Candidates:
    """Find what the target of each kept window is ranked among, from all windows of a split.

    `rows` are their frames' images or texts (W, K + 1). Left out are the story's own frames that stand in the window's
    context or before it, and whatever is the same image or text as one of these.
    """
    targets, target_of = np.unique(rows[:, -1], return_inverse=True)  # (C,), (W,)
    number = np.unique(np.asarray(stories, dtype=np.str_), return_inverse=True)[1]
    rivals = np.ones((len(kept), len(targets)), np.bool_)
    later = np.zeros_like(rivals)
    column = np.full(int(rows.max()) + 1, -1, np.int64)
    column[targets] = np.arange(len(targets))
    place = starts[:, None] + np.arange(rows.shape[1])  # (W, K + 1), of each frame in its story
    of_story = {story: np.flatnonzero(number == story) for story in np.unique(number[kept]).tolist()}
    for at, window in enumerate(kept.tolist()):
        own = of_story[int(number[window])]
        before = place[own] < place[window, -1]  # (own, K + 1)
        seen = column[rows[own][before]]
        ahead = target_of[own][~before[:, -1]]
        later[at, ahead] = True
        gone = seen[seen >= 0]
        rivals[at, gone] = later[at, gone] = False
        # The answer itself stays, though a frame before the context may be the same: it is what is asked for.
        rivals[at, target_of[window]] = later[at, target_of[window]] = True
    return Candidates(targets, target_of[kept], rivals, later)


def measure_in_spaces(
    metrics: Mapping[str, SpaceMetric],
    series: Mapping[str, Series],
    windows: Windows,
    kept: NDArray[np.int64],
    *,
    vectors: WindowVectors,
    means: Mapping[str, Vectors],
) -> Statistics:
    """Measure every answer by each metric of the run's spaces, where it ranks by the model's own queries if there are
    any, and two more baselines: the mean of the context's frames,
    and for ranks both it and the last frame with the training mean taken off.

    `windows` and `vectors` are of all windows of the split, of which those kept are scored; `means` are the training
    means by space, none where the training data is not there.
    """
    found: Statistics = {}
    for name, metric in metrics.items():
        visual = metric.space == "visual"
        rows, frames = (windows.image_rows, vectors.visual) if visual else (windows.text_rows, vectors.text)
        among = candidates(rows, windows.starts, windows.stories, kept)
        first = np.unique(rows[:, -1], return_index=True)[1]
        targets = frames[first, -1]  # (C, d)
        context = frames[kept, :-1].mean(axis=1)  # (W, d)
        answers = {each: answer.visual if visual else answer.text for each, answer in series.items()}
        answers = {**answers, "mean-context": context}
        origin = {each: np.zeros((), np.float32) for each in answers}
        if metric.ranks and metric.space in means:
            for each in ("copy-last", "mean-context"):
                answers[f"{each}-centred"], origin[f"{each}-centred"] = answers[each], means[metric.space]
        compared = {
            each: (answer - origin[each], targets - origin[each])
            for each, answer in answers.items()
            if answer is not None
        }
        if metric.ranks:
            compared |= {
                each: _asked(answer.queries, metric, targets) for each, answer in series.items() if answer.queries
            }
        found[name] = {
            each: np.concatenate(
                [
                    metric.measure_in_space(_comparison(part, answer, placed, among))
                    for part in np.array_split(np.arange(len(kept)), max(1, len(kept) // 256))
                ]
            )
            for each, (answer, placed) in compared.items()
        }
    return found


def _asked(queries: Queries, metric: SpaceMetric, targets: Vectors) -> tuple[Vectors, Vectors]:
    """Return a model's queries, and the targets as it places them for these."""
    if metric.space == "visual":
        return queries.visual, queries.image_keys(targets)
    return queries.text, queries.text_keys(targets)


def _comparison(part: NDArray[np.int64], predicted: Vectors, targets: Vectors, among: Candidates) -> Comparison:
    return Comparison(
        predicted=predicted[part],
        reference=targets[among.answer[part]],
        candidates=targets,
        answer=among.answer[part],
        rivals=among.rivals[part],
        later=among.later[part],
    )
