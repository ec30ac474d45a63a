"""What a metric promises: numbers of each window by itself, and a score of any windows that tells good from bad."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..api import Comparison, ReadsReferences, Sample, SpaceMetric
from ..api.metrics import score_range
from ..config.experiment import resolve_metrics
from ..config.resolve import Choice, parse_set
from ..plugin.loading import build
from ..plugin.registry import Registry
from .outcomes import Check, demand
from .stories import TinyStories, tell_stories

WINDOWS = 6
NUMBERS = 8
"""Numbers of a vector in the made-up space."""
BETTER = ("higher", "lower", "one")
Statistics = NDArray[np.float64]


def choose(registry: Registry, name: str, assignments: Sequence[str]) -> Choice:
    """Resolve a metric's options. Raises VsrError with all mistakes in the assignments."""
    return resolve_metrics(registry, [name], parse_set(assignments))[0]


def build_it(choice: Choice) -> str:
    """Build the metric and look at what it says of itself."""
    metric = build(choice.provided, choice.options)
    how = "measure_in_space" if isinstance(metric, SpaceMetric) else "measure"
    missing = [name for name in (how, "combine", "scale", "signature", "better") if not hasattr(metric, name)]
    demand(not missing, f"{type(metric).__qualname__} lacks {', '.join(missing)}")
    demand(metric.better in BETTER, f"better is {metric.better!r}, not one of {', '.join(BETTER)}")
    for name in ("scale", "signature"):
        text = getattr(metric, name)
        demand(isinstance(text, str) and bool(text.strip()), f"{name} is {text!r}; it is a text")
    return f"{type(metric).__qualname__}, {metric.scale}"


def checks(choice: Choice) -> Iterator[Check]:
    """Yield the checks of a metric."""
    yield "measures each window from itself alone", lambda: measures_alone(choice)
    yield "combines any selection of windows", lambda: combines_any(choice)
    yield "leaves what it reads as it was", lambda: changes_nothing(choice)
    yield "the truth scores no worse than a wrong answer", lambda: truth_is_best(choice)


def _measure(choice: Choice, answers: Sequence[int], rows: Sequence[int] | None = None) -> tuple[Any, Statistics]:
    """Return the metric and its statistics (n, S) of windows `rows`, where window i is answered by what is true of
    window `answers[i]`."""
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
    stories = tell_stories(WINDOWS, steps=4, image_size=32)
    truth = [story[-1] for story in stories.texts]
    return [
        Sample(
            story=f"story-{window // 2}",
            context_texts=tuple(stories.texts[window][:-1]),
            predicted_text=truth[answer],
            reference_text=truth[window],
            predicted_image=_picture(stories, answer),
            reference_image=_picture(stories, window),
        )
        for window, answer in enumerate(answers)
    ]


def _picture(stories: TinyStories, window: int) -> NDArray[np.uint8]:
    picture: NDArray[np.uint8] = stories.pictures[stories.rows[window, -1]].movedim(0, -1).numpy()  # (H, W, 3)
    return picture.copy()  # else a change of one is a change of all that show it


def _comparison(answers: Sequence[int], rows: Sequence[int]) -> Comparison:
    places = np.random.default_rng(0).normal(size=(WINDOWS, NUMBERS)).astype(np.float32)
    own = np.array(rows)
    return Comparison(
        predicted=places[np.array(answers)[own]],
        reference=places[own],
        candidates=places,
        answer=own.astype(np.int64),
        rivals=np.ones((len(rows), WINDOWS), np.bool_),
        later=np.arange(WINDOWS)[None] // 2 == own[:, None] // 2,
    )


def measures_alone(choice: Choice) -> str | None:
    """Measure windows together, in another order, and one by one."""
    answers = np.roll(np.arange(WINDOWS), 1).tolist()
    statistics = _measure(choice, answers)[1]
    shape = f"{statistics.shape} {statistics.dtype}"
    demand(
        statistics.ndim == 2 and len(statistics) == WINDOWS and statistics.dtype == np.float64,
        f"gave {shape} for {WINDOWS} windows; it gives (n, S) float64",
    )
    demand(bool(np.isfinite(statistics).all()), "gave statistics that are no numbers")
    order = list(reversed(range(WINDOWS)))
    turned = _measure(choice, answers, order)[1]
    demand(_near(turned, statistics[order]), "gave a window other numbers in another order")
    for row in range(WINDOWS):
        alone = _measure(choice, answers, [row])[1]
        demand(_near(alone, statistics[[row]]), "gave a window other numbers by itself")
    return f"S = {statistics.shape[1]}"


def _near(one: Statistics, other: Statistics) -> bool:
    return np.allclose(one, other, rtol=1e-4, atol=1e-6)


def combines_any(choice: Choice) -> str | None:
    """Combine all windows, each alone, pairs, and some twice, as a bootstrap does."""
    metric, statistics = _measure(choice, np.roll(np.arange(WINDOWS), 1).tolist())
    selections = [list(range(WINDOWS)), *([row] for row in range(WINDOWS)), [0, 3], [2, 2, 5]]
    for selection in selections:
        scores = metric.combine(statistics[selection])
        headline = next(iter(scores), None)
        demand(headline == choice.name, f"combine gave {headline!r} first; the headline has the metric's own name")
        strange = [name for name in scores if not f"{name}-".startswith(f"{choice.name}-")]
        demand(not strange, f"combine gave {strange[:1]}; further scores add to the metric's name")
        score, (low, high) = scores[choice.name], score_range(metric)
        demand(math.isfinite(score), f"combine gave no number for {len(selection)} windows")
        demand(low - 1e-9 <= score <= high + 1e-9, f"combine gave {score:.6g}, but the scale is {metric.scale!r}")
    backwards = metric.combine(statistics[::-1])[choice.name]
    forwards = metric.combine(statistics)[choice.name]
    demand(math.isclose(forwards, backwards, rel_tol=1e-6, abs_tol=1e-9), "the score depends on the windows' order")
    return ", ".join(metric.combine(statistics))


def changes_nothing(choice: Choice) -> str | None:
    """Compare all that a metric reads with a copy from before: other metrics and the bootstrap read it, too."""
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
    demand(not changed, f"{method.__name__} changed the {changed} that it was given")
    return answer


def _changes(before: Any, after: Any) -> list[str]:
    """Name what differs, each name once: fields of samples or of a comparison, else what a method's argument is."""
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
    """Score the truth, and other windows' truths in its place."""
    metric, statistics = _measure(choice, range(WINDOWS))
    top = metric.combine(statistics)[choice.name]
    notes = [f"truth {top:.4g}"]
    for name, answers in (("shuffled", np.roll(np.arange(WINDOWS), 1).tolist()), ("one for all", [0] * WINDOWS)):
        baseline = metric.combine(_measure(choice, answers)[1])[choice.name]
        notes.append(f"{name} {baseline:.4g}")
        good = {"higher": top - baseline, "lower": baseline - top, "one": abs(baseline - 1) - abs(top - 1)}[
            metric.better
        ]
        demand(good >= -1e-9, f"it is better {metric.better}, but {', '.join(notes)}")
    return ", ".join(notes)
