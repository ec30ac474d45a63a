"""Checks of metrics: statistics per window, a score of any selection of windows, and the best score for the truth."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..api import Comparison, ReadsReferences, Sample, ScoresTotals, SpaceMetric
from ..api.metrics import score_range
from ..config.experiment import resolve_metrics
from ..config.resolve import Choice, parse_set
from ..plugin.loading import build
from ..plugin.registry import Registry
from .outcomes import Check, require
from .stories import SmallStories, make_stories

WINDOWS = 6
DIMENSIONS = 8
"""Of the vectors in the embedding space."""
BETTER = ("higher", "lower", "one")
NO_IMAGE: NDArray[np.uint8] = np.zeros((0, 0, 3), np.uint8)
"""What a metric of texts gets in other processes."""
Statistics = NDArray[np.float64]


def choose(registry: Registry, name: str, assignments: Sequence[str]) -> Choice:
    """Resolve the options of a metric. Raises VsrError with all errors in the assignments."""
    return resolve_metrics(registry, [name], parse_set(assignments))[0]


def is_built(choice: Choice) -> str:
    """Build the metric and check its attributes."""
    metric = build(choice.provided, choice.options)
    how = "measure_in_space" if isinstance(metric, SpaceMetric) else "measure"
    missing = [name for name in (how, "combine", "scale", "signature", "better") if not hasattr(metric, name)]
    require(not missing, f"{type(metric).__qualname__} lacks {', '.join(missing)}")
    require(metric.better in BETTER, f"better is {metric.better!r}, not one of {', '.join(BETTER)}")
    for name in ("scale", "signature"):
        text = getattr(metric, name)
        require(isinstance(text, str) and bool(text.strip()), f"{name} is {text!r}, not a text")
    return f"{type(metric).__qualname__}, {metric.scale}"


def _measure(choice: Choice, answers: Sequence[int], rows: Sequence[int] | None = None) -> tuple[Any, Statistics]:
    """Return the metric and its statistics (n, S) of windows `rows`; the prediction of window i is the truth of window
    `answers[i]`."""
    metric = build(choice.provided, choice.options)
    chosen = list(range(len(answers))) if rows is None else list(rows)
    if isinstance(metric, SpaceMetric):
        return metric, metric.measure_in_space(_comparison(answers, chosen))
    samples = _samples(answers)
    if isinstance(metric, ReadsReferences):
        metric.read_references([sample.reference_text for sample in samples])
    statistics: Statistics = metric.measure([samples[row] for row in chosen])
    return metric, statistics


def _samples(answers: Sequence[int]) -> list[Sample]:
    stories = make_stories(WINDOWS, steps=4, image_size=32)
    truth = [story[-1] for story in stories.texts]
    return [
        Sample(
            story=f"story-{window // 2}",
            context_texts=tuple(stories.texts[window][:-1]),
            predicted_text=truth[answer],
            reference_text=truth[window],
            predicted_image=_image(stories, answer),
            reference_image=_image(stories, window),
        )
        for window, answer in enumerate(answers)
    ]


def _image(stories: SmallStories, window: int) -> NDArray[np.uint8]:
    image: NDArray[np.uint8] = stories.images[stories.rows[window, -1]].movedim(0, -1).numpy()  # (H, W, 3)
    return image.copy()  # windows share images


def _comparison(answers: Sequence[int], rows: Sequence[int]) -> Comparison:
    places = np.random.default_rng(0).normal(size=(WINDOWS, DIMENSIONS)).astype(np.float32)
    own = np.array(rows)
    return Comparison(
        predicted=places[np.array(answers)[own]],
        reference=places[own],
        context=np.stack([places[(own + shift) % WINDOWS] for shift in (1, 2)], axis=1),
        candidates=places,
        answer=own.astype(np.int64),
        rivals=np.ones((len(rows), WINDOWS), np.bool_),
        later=np.arange(WINDOWS)[None] // 2 == own[:, None] // 2,
    )


def measures_alone(choice: Choice) -> str | None:
    """Measure windows together, in another order, and alone; without images if the metric reads none."""
    answers = np.roll(np.arange(WINDOWS), 1).tolist()
    statistics = _measure(choice, answers)[1]
    shape = f"{statistics.shape} {statistics.dtype}"
    require(
        statistics.ndim == 2 and len(statistics) == WINDOWS and statistics.dtype == np.float64,
        f"returned {shape} for {WINDOWS} windows, not (n, S) float64",
    )
    require(bool(np.isfinite(statistics).all()), "returned statistics that are not finite")
    order = list(reversed(range(WINDOWS)))
    turned = _measure(choice, answers, order)[1]
    require(_near(turned, statistics[order]), "returned other statistics of a window in another order")
    for row in range(WINDOWS):
        alone = _measure(choice, answers, [row])[1]
        require(_near(alone, statistics[[row]]), "returned other statistics of a window alone")
    metric = build(choice.provided, choice.options)
    if not isinstance(metric, SpaceMetric) and not getattr(metric, "reads_images", True):
        samples = _samples(answers)
        if isinstance(metric, ReadsReferences):
            metric.read_references([sample.reference_text for sample in samples])
        blank = [replace(each, predicted_image=NO_IMAGE, reference_image=NO_IMAGE) for each in samples]
        unchanged = np.array_equal(metric.measure(blank), statistics)
        require(unchanged, "returned other statistics without images, though reads_images is False")
    return f"S = {statistics.shape[1]}"


def _near(one: Statistics, other: Statistics) -> bool:
    return np.allclose(one, other, rtol=1e-4, atol=1e-6)


def combines_any(choice: Choice) -> str | None:
    """Combine all windows, single ones, a pair, and some twice, as in a bootstrap."""
    metric, statistics = _measure(choice, np.roll(np.arange(WINDOWS), 1).tolist())
    selections = [list(range(WINDOWS)), *([row] for row in range(WINDOWS)), [0, 3], [2, 2, 5]]
    for selection in selections:
        scores = metric.combine(statistics[selection])
        headline = next(iter(scores), None)
        require(headline == choice.name, f"combine returned {headline!r} first; the first score has the metric's name")
        strange = [name for name in scores if not f"{name}-".startswith(f"{choice.name}-")]
        require(not strange, f"combine returned {strange[:1]}; further scores are named {choice.name}-...")
        score, (low, high) = scores[choice.name], score_range(metric)
        require(math.isfinite(score), f"combine did not return a number for {len(selection)} windows")
        require(low - 1e-9 <= score <= high + 1e-9, f"combine returned {score:.6g}, not on the scale {metric.scale!r}")
        if isinstance(metric, ScoresTotals):
            totals = metric.summands(statistics)[selection].sum(axis=0, keepdims=True)
            summed = float(metric.score_totals(totals, np.array([len(selection)]))[0])
            same = math.isclose(score, summed, rel_tol=1e-6, abs_tol=1e-7)
            require(same, f"combine returned {score:.6g} for {len(selection)} windows, score_totals {summed:.6g}")
    backwards = metric.combine(statistics[::-1])[choice.name]
    forwards = metric.combine(statistics)[choice.name]
    require(math.isclose(forwards, backwards, rel_tol=1e-6, abs_tol=1e-9), "the score depends on the order of windows")
    return ", ".join(metric.combine(statistics))


def changes_nothing(choice: Choice) -> str | None:
    """Compare the inputs of a metric with copies: other metrics and the bootstrap use them, too."""
    answers = np.roll(np.arange(WINDOWS), 1).tolist()
    metric = build(choice.provided, choice.options)
    samples = _samples(answers)
    given: Any = samples
    measure = metric.measure_in_space if isinstance(metric, SpaceMetric) else metric.measure
    if isinstance(metric, SpaceMetric):
        given = _comparison(answers, range(WINDOWS))
    elif isinstance(metric, ReadsReferences):
        _call_and_compare(metric.read_references, [sample.reference_text for sample in samples])
    statistics = _call_and_compare(measure, given)
    _call_and_compare(metric.combine, statistics)
    return None


def _call_and_compare(method: Callable[[Any], Any], given: Any) -> Any:
    before = deepcopy(given)
    answer = method(given)
    changed = ", ".join(_changes(before, given))
    require(not changed, f"{method.__name__} changed its input ({changed})")
    return answer


def _changes(before: Any, after: Any) -> list[str]:
    """Return the distinct names of what differs: fields of samples or of a comparison, or the kind of argument."""
    if isinstance(before, Comparison | Sample):
        names = [field.name for field in fields(before)]
        return [name for name in names if _changes(getattr(before, name), getattr(after, name))]
    if isinstance(before, np.ndarray):
        same = before.shape == after.shape and np.array_equal(before, after, equal_nan=before.dtype.kind == "f")
        return [] if same else ["statistics"]
    if not isinstance(before, list):
        return [] if before == after else ["value"]
    if len(before) != len(after):
        return ["list"]
    return list(dict.fromkeys(name for pair in zip(before, after, strict=True) for name in _changes(*pair)))


def truth_is_best(choice: Choice) -> str | None:
    """Compare the score of the truth with that of other windows' truths."""
    metric, statistics = _measure(choice, range(WINDOWS))
    top = metric.combine(statistics)[choice.name]
    notes = [f"truth {top:.4g}"]
    for name, answers in (
        ("shuffled", np.roll(np.arange(WINDOWS), 1).tolist()),
        ("the same", [0] * WINDOWS),
    ):
        baseline = metric.combine(_measure(choice, answers)[1])[choice.name]
        notes.append(f"{name} {baseline:.4g}")
        good = {"higher": top - baseline, "lower": baseline - top, "one": abs(baseline - 1) - abs(top - 1)}[
            metric.better
        ]
        require(good >= -1e-9, f"better is {metric.better}, but {', '.join(notes)}")
    return ", ".join(notes)


CHECKS: tuple[Check[Choice], ...] = (
    ("measures each window alone", measures_alone),
    ("combines any selection of windows", combines_any),
    ("does not change its inputs", changes_nothing),
    ("the truth scores no worse than other texts and images", truth_is_best),
)
