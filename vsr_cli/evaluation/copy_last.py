"""How far copying gets: the last text of a window's context, scored against the text that really follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..api import Metric, Sample
from ..config.resolve import Choice
from ..console import progress
from ..data.lint import target_in_context
from ..data.prepared import Prepared, Windows
from ..data.statistics import ALL
from ..model.losses.held_out import BATCH
from ..plugin.loading import build
from .normalize import clean_text
from .scoring import read_references

MOST = 2000
"""Windows of a split that are scored, evenly chosen: enough for three digits, and seconds where all take minutes."""
NO_IMAGE = np.empty((0, 0, 3), np.uint8)


def copy_last_text(prepared: Prepared, splits: Sequence[str], choices: Sequence[Choice]) -> dict[str, Any]:
    """Score copying the last text, by metrics of texts, in each split and in all: {split: {"windows": n, name: score}}.

    As in the baselines of an evaluation, windows whose target is among their inputs, and padded ones, are left out.
    None stands for a split without windows, and for the score of a metric that cannot read the texts.
    """
    metrics: dict[str, Metric] = {choice.name: build(choice.provided, choice.options) for choice in choices}
    statistics: dict[str, dict[str, list[NDArray[np.float64]]]] = {}
    chosen = {split: _chosen(prepared.windows(split)) for split in splits}
    targets = [row for windows in chosen.values() for row in windows.text_rows[:, -1].tolist()]
    metrics, _ = read_references(metrics, [clean_text(prepared.frames.texts[row]) for row in targets])
    with progress() as bar:
        task = bar.add_task("copying the last text", total=sum(map(len, chosen.values())))
        for split, windows in chosen.items():
            statistics[split] = {name: [] for name in metrics}
            for start in range(0, len(windows), BATCH):
                rows = np.arange(start, min(start + BATCH, len(windows)))
                samples = _samples(prepared, windows.take(rows))
                for name, metric in metrics.items():
                    statistics[split][name].append(metric.measure(samples))
                bar.advance(task, len(rows))
    statistics[ALL] = {name: [part for split in splits for part in statistics[split][name]] for name in metrics}
    counts = {split: len(windows) for split, windows in chosen.items()}
    counts[ALL] = sum(counts.values())
    names = [choice.name for choice in choices]
    return {split: _scores(names, metrics, parts, count=counts[split]) for split, parts in statistics.items()}


def _chosen(windows: Windows) -> Windows:
    leaks = target_in_context(windows.text_rows) | target_in_context(windows.image_rows)
    kept = np.flatnonzero(~(leaks | windows.repeated.any(axis=1)))
    if len(kept) > MOST:
        kept = kept[np.linspace(0, len(kept) - 1, MOST).round().astype(np.int64)]
    return windows.take(kept)


def _samples(prepared: Prepared, windows: Windows) -> list[Sample]:
    texts = [[clean_text(prepared.frames.texts[row]) for row in rows] for rows in windows.text_rows.tolist()]
    return [
        Sample(
            story=story,
            context_texts=tuple(row[:-1]),
            predicted_text=row[-2],
            reference_text=row[-1],
            predicted_image=NO_IMAGE,
            reference_image=NO_IMAGE,
        )
        for story, row in zip(windows.stories, texts, strict=True)
    ]


def _scores(
    names: Sequence[str],
    metrics: Mapping[str, Metric],
    parts: Mapping[str, list[NDArray[np.float64]]],
    *,
    count: int,
) -> dict[str, float | int | None] | None:
    if not count:
        return None
    scores = {name: metric.combine(np.concatenate(parts[name]))[name] for name, metric in metrics.items()}
    return {"windows": count, **{name: round(scores[name], 4) if name in scores else None for name in names}}
