"""Baselines and the upper bound: what every score is compared with, on the same windows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..api import Metric, TextDecoder, split_words
from ..config.resolve import Choice
from ..data.lint import target_in_context
from ..data.prepared import Prepared
from ..data.prepared_types import Frames, Windows
from ..data.scratch import taken
from ..data.shards import ArrayRows, ChosenRows
from ..data.statistics import ALL
from ..model.embedding_spaces import Vectors
from ..plugin.loading import build
from .embeddings import EmbeddedSplit, TrainingWindows, Unavailable, WindowVectors, unit
from .normalize import clean_text
from .predictions import Predictions, References, load_references, normalized_texts
from .scoring import measure, read_references

SHUFFLE_SEED = 0
CHUNK = 256
MOST_COPIED = 2000
"""Windows per split for `copy_last_scores`, evenly chosen: enough for three digits, within seconds."""


def copy_last(references: References, frames: Frames, windows: Windows, vectors: WindowVectors | None) -> Predictions:
    """Predict the last frame of the context."""
    return Predictions(
        [texts[-1] for texts in references.context_texts],
        ChosenRows(frames.images, windows.image_rows[:, -2]),
        vectors.visual[:, -2] if vectors else None,
        vectors.text[:, -2] if vectors else None,
    )


def best_context(
    references: References, frames: Frames, windows: Windows, vectors: WindowVectors | None
) -> Predictions:
    """Predict the frame of the context whose text is chosen by `most_expected_text`."""
    rows = np.arange(len(windows))
    best = np.asarray([most_expected_text(texts) for texts in references.context_texts], dtype=np.int64)  # (W,)
    return Predictions(
        [texts[index] for texts, index in zip(references.context_texts, best.tolist(), strict=True)],
        ChosenRows(frames.images, windows.image_rows[rows, best]),
        vectors.visual[rows, best] if vectors else None,
        vectors.text[rows, best] if vectors else None,
    )


def most_expected_text(texts: Sequence[str]) -> int:
    """Return the index of the text (K,) that overlaps most with the others, the last one of equals.

    Minimum Bayes risk decoding (Kumar and Byrne, 2004) whose candidates and evidence are the texts of the context. With
    w(x) the bag of words of text x, it maximizes the mean over all other texts y of F1 of unigrams:

        F1(x, y) = 2 |w(x) ∩ w(y)| / (|w(x)| + |w(y)|)
    """
    words = [Counter(split_words(text)) for text in texts]

    def expected(index: int) -> float:
        own = words[index]
        others = [other for at, other in enumerate(words) if at != index]
        return sum(2 * (own & other).total() / max(1, own.total() + other.total()) for other in others)

    return max(range(len(texts)), key=lambda index: (expected(index), index))


def training_baselines(
    embedded: EmbeddedSplit, rows: NDArray[np.int64], *, in_spaces: bool
) -> dict[str, Predictions | Unavailable]:
    """Predict some of the split's windows (n,) from the training windows alone.

    The mean image and text are embedded only if `in_spaces`: that needs the frozen halves of the encoders.
    """
    training = embedded.training_windows
    if isinstance(training, Unavailable):
        return {"nearest-neighbor": training, "mean": training}
    frames, vectors = training.prepared.frames, training.vectors
    nearest = nearest_contexts(training, embedded.vectors.take(rows))  # (n,)
    windows = training.windows.take(nearest)
    texts = normalized_texts(frames.texts, windows.text_rows[:, -1])
    central = frames.texts[central_text(training)]
    image = ArrayRows(mean_image(training)[None])
    mean = Predictions([clean_text(central)], image)
    if in_spaces:
        spaces = embedded.spaces
        mean = replace(mean, visual=spaces.images(image, np.array([0])), text=spaces.written([central]))
    return {
        "nearest-neighbor": Predictions(
            [texts[row] for row in windows.text_rows[:, -1].tolist()],
            ChosenRows(frames.images, windows.image_rows[:, -1]),
            taken(vectors.visual[:, -1], nearest),
            taken(vectors.text[:, -1], nearest),
        ),
        "mean": mean.take(np.zeros(len(rows), np.int64)),
    }


def nearest_contexts(training: TrainingWindows, vectors: WindowVectors) -> NDArray[np.int64]:
    """Return, for each window (W,), the training window with the nearest context.

    A context is the mean of its frames' vectors minus the training mean, with equal weight for images and texts.
    """
    means = training.means

    def contexts(of: WindowVectors, rows: NDArray[np.int64]) -> Vectors:
        visual, text = of.contexts(rows)
        return np.concatenate([unit(visual - means["visual"]), unit(text - means["text"])], axis=1)

    theirs = contexts(training.vectors, np.arange(len(training.windows)))
    blocks = np.split(np.arange(len(vectors.visual)), range(CHUNK, len(vectors.visual), CHUNK))
    return np.concatenate([(contexts(vectors, rows) @ theirs.T).argmax(axis=1) for rows in blocks]).astype(np.int64)


def central_text(training: TrainingWindows) -> int:
    """Return the row of the target text nearest to the mean of all target texts."""
    targets = unit(training.vectors.text[:, -1])
    return int(training.windows.text_rows[int((targets @ targets.mean(axis=0)).argmax()), -1])


def mean_image(training: TrainingWindows) -> NDArray[np.uint8]:
    """Return the mean of the target images, (H, W, 3)."""
    rows = training.windows.image_rows[:, -1]
    size = training.prepared.image_size
    total = np.zeros((size, size, 3))
    for start in range(0, len(rows), CHUNK):
        total += training.prepared.frames.images.gather(rows[start : start + CHUNK]).sum(axis=0, dtype=np.float64)
    mean: NDArray[np.uint8] = (total / len(rows)).round().astype(np.uint8)
    return mean


def shuffled_context(model: Predictions, stories: Sequence[str]) -> Predictions | Unavailable:
    """Predict for each window what the model predicts for one of another story, in one fixed shuffle.

    A prediction depends on the context alone, so this is the model with its contexts shuffled between stories.
    """
    if len(set(stories)) < 2:
        return Unavailable("shuffled-context: there is only one story; prepare more stories")
    return model.take(windows_of_other_stories(stories))


def windows_of_other_stories(stories: Sequence[str], *, seed: int = SHUFFLE_SEED) -> NDArray[np.int64]:
    """Return, for each window (W,), the row of one of another story; no row twice unless one story has over half."""
    number = np.unique(np.asarray(stories, dtype=np.str_), return_inverse=True)[1]  # (W,)
    counts = np.bincount(number)
    random = np.random.default_rng(seed)
    position = random.permutation(len(counts))  # of each story in a sequence of all
    order = np.lexsort((random.permutation(len(number)), position[number]))  # (W,), story by story
    others = np.empty_like(order)
    others[order] = np.roll(order, -int(counts.max()))  # shifted by the longest, no window meets its own story
    for row in np.flatnonzero(number[others] == number).tolist():  # except where one story has over half of them
        others[row] = random.choice(np.flatnonzero(number != number[row]))
    return others


def upper_bound(
    decoder: TextDecoder, frames: Frames, windows: Windows, references: References
) -> tuple[Predictions, float]:
    """Predict the target itself, its text encoded and decoded by the decoder's tokens, which may truncate it.

    Also return the share of references that are longer than the decoder can write.
    """
    rows, back = np.unique(windows.text_rows[:, -1], return_inverse=True)
    tokens = decoder.tokenize([frames.texts[row] for row in rows.tolist()])
    decoded = [clean_text(text) for text in decoder.detokenize(torch.from_numpy(tokens.ids))]
    eos = decoder.tokenize([""]).ids[0, 0]
    truncated = tokens.ids[np.arange(len(rows)), tokens.mask.sum(axis=1) - 1] != eos
    return Predictions([decoded[index] for index in back.tolist()], references.images), float(truncated[back].mean())


def copy_last_scores(prepared: Prepared, splits: Sequence[str], choices: Sequence[Choice]) -> dict[str, Any]:
    """Score copying the last text, by text metrics, in each split and in all: {split: {"windows": n, name: score}}.

    As in an evaluation, windows whose target is in their context and padded ones are left out. A split without
    windows is None, and so is the score of a metric that cannot read the texts.
    """
    chosen = {split: _copied_windows(prepared.windows(split)) for split in splits}
    bounds = np.cumsum([0, *map(len, chosen.values())]).tolist()
    parts = {split: slice(*bounds[at : at + 2]) for at, split in enumerate(splits)} | {ALL: slice(0, bounds[-1])}
    metrics: dict[str, Metric] = {choice.name: build(choice.provided, choice.options) for choice in choices}
    statistics: dict[str, NDArray[np.float64]] = {}
    if bounds[-1]:
        texts = np.concatenate([windows.text_rows for windows in chosen.values()])
        stories = [story for windows in chosen.values() for story in windows.stories]
        everything = Windows(
            stories, np.zeros_like(texts), texts, np.zeros(texts.shape, np.bool_), np.zeros(len(texts), np.int64)
        )
        no_images = ArrayRows(np.empty((1, 0, 0, 3), np.uint8))  # text metrics read none
        frames = Frames(no_images, prepared.frames.texts)
        references = load_references(frames, everything)
        metrics, _ = read_references(metrics, references.texts)
        series = {"copy-last": copy_last(references, frames, everything, None)}
        statistics = {name: of["copy-last"] for name, of in measure(metrics, series, references).items()}

    def score(name: str, part: slice) -> float | None:
        return round(metrics[name].combine(statistics[name][part])[name], 4) if name in statistics else None

    return {
        split: {"windows": part.stop - part.start, **{choice.name: score(choice.name, part) for choice in choices}}
        if part.stop > part.start
        else None
        for split, part in parts.items()
    }


def _copied_windows(windows: Windows) -> Windows:
    leaks = target_in_context(windows.text_rows) | target_in_context(windows.image_rows)
    rows = np.flatnonzero(~(leaks | windows.repeated.any(axis=1)))
    if len(rows) > MOST_COPIED:
        rows = rows[np.linspace(0, len(rows) - 1, MOST_COPIED).round().astype(np.int64)]
    return windows.take(rows)
