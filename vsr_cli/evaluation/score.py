"""Evaluation of external predictions: the same windows, baselines, intervals and files as a run's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..api import Metric, ReadsReferences, SpaceMetric
from ..config.resolve import Choice
from ..data.prepared import Prepared
from ..data.shards import ArrayRows, ChosenRows, Rows
from ..errors import VsrError
from ..runs.results import SHORT
from .baselines import SHUFFLE_SEED, Unavailable, WindowVectors, copy_last, shuffled
from .bootstrap import RESAMPLES, SEED
from .embeddings import Placed
from .evaluate import Evaluation, cautions, signature
from .external_predictions import Given, GivenImages, Window
from .leakage import Audit, audit
from .metric_results import metric_cells, prediction_lines
from .scoring import build_metrics, check_available, measure, part_by_mentions
from .series import Series, Truth, read_truth

NO_RUN = Unavailable("it is found with the encoders of a run; name one with --run RUN")


def windows_of(prepared: Prepared, split: str) -> list[Window]:
    """Return the windows of a split by story and first frame."""
    windows = prepared.windows(split)
    return list(zip(windows.stories, windows.starts.tolist(), strict=True))


def score_given(
    given: Given,
    prepared: Prepared,
    split: str,
    choices: Sequence[Choice],
    *,
    allow_missing: bool,
    placed: Placed | None = None,
    known: Sequence[str] = (),
) -> Evaluation:
    """Score predictions of a split's windows as `evaluate` does a run's.

    Windows that leak are left out whether they are predicted or not. `placed` is the split in the spaces of a run,
    whose training data then serve, and `known` what speaks against that; without one, baselines that need a run's
    encoders are unavailable. Raises VsrError if a window is missing, unless that is allowed, or none is left, or if no
    metric can run.
    """
    training = placed.training if placed else prepared
    found = audit(prepared, split, training=training)
    rows, missing = _predicted(given, prepared, split, found, allow_missing=allow_missing)
    windows = prepared.windows(split).take(rows)
    truth = read_truth(prepared.frames, windows)
    keys = list(zip(windows.stories, windows.starts.tolist(), strict=True))
    images: Rows = GivenImages(
        [given.images[key] for key in keys if given.images], prepared.image_size, prepared.resize
    )
    # Where there are none, something must stand in their place: what looks at it is found out below, and not used.
    answers = Series(given.cleaned(keys), images if given.images else _blank(prepared, len(keys)))
    metrics, unavailable = build_metrics(choices)
    metrics, unmarked, truth = part_by_mentions(metrics, prepared, windows, truth)
    usable, unusable = _usable(metrics, given, truth)
    unavailable = {**unavailable, **unmarked, **unusable}
    check_available(usable, unavailable)
    nowhere = WindowVectors(*np.zeros((2, *windows.image_rows.shape, 0), np.float32))
    series: dict[str, Series | Unavailable] = {
        "model": answers,
        "copy-last": copy_last(prepared.frames, windows, truth, nowhere),
        **(placed.baselines(rows) if placed else {"nearest-neighbor": NO_RUN, "mean": NO_RUN}),
        "shuffled-context": shuffled(answers, windows.stories),
        "upper_bound": Series(truth.references, truth.images),
    }
    there = {name: each for name, each in series.items() if isinstance(each, Series)}
    statistics = measure(usable, there, truth)
    data = prepared.manifest["data"]
    stories = len(set(windows.stories))
    signed = signature(
        {
            "vsr": __version__,
            "mode": "given",
            "split": split,
            "stories": stories,
            "windows": len(windows),
            **({"missing": missing} if missing else {}),
            "window": data["window"],
            "resize": prepared.resize,
            "data": prepared.fingerprint[:12],
            "splitby": data["split"],
            "splitseed": data["seed"],
            "training": training.fingerprint[:12],
            "text": "normalized-3",
            "shuffleseed": SHUFFLE_SEED,
            **({f"space.{name}": value for name, value in placed.spaces.signature.items()} if placed else {}),
            "bootstrap": f"stories-{RESAMPLES}-seed{SEED}",
            "predictions": given.digest()[:SHORT],
        }
    )
    lacking = {name: {"unavailable": reason} for name, reason in unavailable.items()}
    cells = lacking | metric_cells(usable, statistics, windows.stories, series=series, signature=signed)
    result = {
        "signature": signed,
        "checkpoint": None,
        "split": split,
        "held_out": split != "train",
        "stories": stories,
        "windows": len(windows),
        "missing": missing,
        "cautions": [*cautions(split, stories, remedy="predict and score more stories"), *known],
        "decoding": None,
        "truncated_references": 0.0,
        "leaks": found.record(),
        "metrics": {choice.name: cells[choice.name] for choice in choices},
        "teacher_forced": None,
    }
    lines = prediction_lines(windows, answers, truth, metrics=usable, statistics=statistics)
    return Evaluation(result, lines, statistics, found.leaks, windows, images)


def _predicted(
    given: Given, prepared: Prepared, split: str, found: Audit, *, allow_missing: bool
) -> tuple[NDArray[np.int64], int]:
    """Return the rows of the windows that are scored, and how many that should be are not predicted."""
    everything = windows_of(prepared, split)
    rows = [row for row in found.kept.tolist() if everything[row] in given.windows]
    missing = len(found.kept) - len(rows)
    if missing and not allow_missing:
        story, start = next(everything[row] for row in found.kept.tolist() if everything[row] not in given.windows)
        raise VsrError(
            f"{given.path}: {missing} of {len(found.kept)} windows are missing (the first: story {story!r}, window "
            f"{start}); add them, or score what is there with --allow-missing"
        )
    if not rows:
        raise VsrError(f"{given.path}: predicts no window of the {split} split that can be scored; see 'vsr data lint'")
    return np.asarray(rows, dtype=np.int64), missing


def _blank(prepared: Prepared, count: int) -> Rows:
    blank = ArrayRows(np.zeros((1, prepared.image_size, prepared.image_size, 3), np.uint8))
    return ChosenRows(blank, np.zeros(count, np.int64))


def _usable(
    metrics: Mapping[str, Metric | SpaceMetric], given: Given, truth: Truth
) -> tuple[dict[str, Metric], dict[str, str]]:
    """Part metrics into those that these predictions suffice for, and those that they do not, with why."""
    usable: dict[str, Metric] = {}
    unusable: dict[str, str] = {}
    for name, metric in metrics.items():
        if isinstance(metric, SpaceMetric):
            unusable[name] = f"{name}: it compares in a run's own spaces, and these predictions come from no run"
        elif not given.images and _looks_at(metric, truth, images=True):
            unusable[name] = f"{name}: it looks at pictures, and {given.path} gives none; add an image to every line"
        elif not given.texts and _looks_at(metric, truth, images=False):
            unusable[name] = f"{name}: it reads texts, and {given.path} gives none; add a text to every line"
        else:
            usable[name] = metric
    return usable, unusable


def _looks_at(metric: Metric, truth: Truth, *, images: bool) -> bool:
    """Find out whether a metric measures another thing if only the predicted picture changes, or only the text."""
    if isinstance(metric, ReadsReferences):
        metric.read_references(truth.references)
    one = np.zeros(1, np.int64)
    true: NDArray[np.uint8] = truth.images.gather(one)
    pictures = [np.zeros_like(true), np.full_like(true, 255), true] if images else [true]
    texts = [truth.references[0]] if images else ["", "nothing of the kind", truth.references[0]]
    measured = [
        metric.measure(truth.samples(Series([text], ArrayRows(picture)), one)) for picture in pictures for text in texts
    ]
    return any(not np.array_equal(rows, measured[0], equal_nan=True) for rows in measured[1:])
