"""Free-running predictions of windows, and the references that they are scored against."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from ..api import Decoding, Mention, NextQuery, Sample, TextDecoder
from ..data.batches import Contexts
from ..data.cache.encoding import BATCH, to_array
from ..data.prepared import Prepared
from ..data.prepared_types import Frames, Windows
from ..data.scratch import scratch_array, taken
from ..data.shards import ArrayRows, ChosenRows, Rows
from ..model.embedding_spaces import Vectors
from ..model.story_model import StoryModel
from ..progress import progress
from .normalize import clean_text, without_tags
from .text_workers import Texts


@dataclass(frozen=True)
class Queries:
    """The query by which a model ranks candidates after each of W windows, and the keys of candidates."""

    visual: Vectors
    """(W, e)."""
    text: Vectors
    """(W, f)."""
    image_keys: Callable[[Vectors], Vectors]
    """Maps vectors of candidate images in the run's visual space (C, d) to keys (C, e)."""
    text_keys: Callable[[Vectors], Vectors]

    def take(self, rows: NDArray[np.int64]) -> Queries:
        """Return those of some windows."""
        return replace(self, visual=self.visual[rows], text=self.text[rows])


@dataclass(frozen=True)
class Predictions:
    """A text and an image for each of W windows: by the model, a baseline or the upper bound."""

    texts: Sequence[str]
    """(W,), normalized."""
    images: Rows
    """(W, H, W, 3) uint8."""
    visual: Vectors | None = None
    """The images in the run's visual space, (W, d); None where no metric needs them."""
    text: Vectors | None = None
    queries: Queries | None = None
    """Of a model that has learned to rank candidates."""
    shown: Sequence[str] | None = None
    """The texts as the model wrote them, for people; None of baselines, which are only scored."""

    def take(self, rows: NDArray[np.int64]) -> Predictions:
        """Return, for each of `rows`, what is predicted for that window."""
        return Predictions(
            [self.texts[row] for row in rows.tolist()],
            ChosenRows(self.images, rows),
            None if self.visual is None else taken(self.visual, rows),
            None if self.text is None else taken(self.text, rows),
            None if self.queries is None else self.queries.take(rows),
            None if self.shown is None else [self.shown[row] for row in rows.tolist()],
        )


@dataclass(frozen=True)
class References:
    """The contexts and targets of W windows. Only scoring reads them."""

    stories: Sequence[str]
    context_texts: Sequence[tuple[str, ...]]
    """Normalized."""
    texts: Sequence[str]
    """Of the targets, normalized."""
    images: Rows
    """Of the targets, (W, H, W, 3) uint8."""
    mentions: Sequence[Sequence[tuple[Mention, ...]]] | None = None
    """Of each frame, (W, K + 1); None where no metric needs them."""

    def window_texts(self, predictions: Predictions, rows: NDArray[np.int64]) -> list[Texts]:
        """Pair the predicted texts of some windows with their references."""
        return [
            (self.stories[row], self.context_texts[row], predictions.texts[row], self.texts[row])
            for row in rows.tolist()
        ]

    def samples(self, predictions: Predictions, rows: NDArray[np.int64]) -> list[Sample]:
        """Pair the predictions of some windows with their references."""
        predicted, true = predictions.images.gather(rows), self.images.gather(rows)
        mentions = [self.mentions[row] if self.mentions else [()] for row in rows.tolist()]
        return [
            Sample(
                story=self.stories[row],
                context_texts=self.context_texts[row],
                predicted_text=predictions.texts[row],
                reference_text=self.texts[row],
                predicted_image=predicted[index],
                reference_image=true[index],
                context_mentions=tuple(mentions[index][:-1]),
                reference_mentions=mentions[index][-1],
            )
            for index, row in enumerate(rows.tolist())
        ]


def load_references(frames: Frames, windows: Windows) -> References:
    """Return the references of some windows."""
    normalized = normalized_texts(frames.texts, windows.text_rows)
    texts = [[normalized[row] for row in rows] for rows in windows.text_rows.tolist()]
    return References(
        stories=windows.stories,
        context_texts=[tuple(row[:-1]) for row in texts],
        texts=[row[-1] for row in texts],
        images=ChosenRows(frames.images, windows.image_rows[:, -1]),
    )


def load_mentions(prepared: Prepared, windows: Windows) -> list[list[tuple[Mention, ...]]]:
    """Return the mentions that the source marks in each frame of some windows without padding, (W, K + 1)."""
    of_story = {
        name: [
            tuple(
                Mention(kind=each.kind, ids=each.ids, text=clean_text((frame.text or "")[each.start : each.end]))
                for each in frame.entities
            )
            for frame in prepared.story(name).frames
        ]
        for name in set(windows.stories)
    }
    return [
        of_story[story][start : start + windows.text_rows.shape[1]]
        for story, start in zip(windows.stories, windows.starts.tolist(), strict=True)
    ]


def normalized_texts(texts: Sequence[str], rows: NDArray[np.int64]) -> Mapping[int, str]:
    """Return some texts normalized, by row; each is normalized once."""
    return {row: clean_text(texts[row]) for row in np.unique(rows).tolist()}


def predict_all(
    model: StoryModel,
    contexts: Contexts,
    decoding: Decoding,
    *,
    description: str,
    normalize: Callable[[str], str] = clean_text,
) -> Predictions:
    """Predict all windows. There is no argument through which a target could be passed.

    A batch has windows with contexts of similar length, the longest first: little of it is padding, and the time left
    is not underestimated. The images are in a temporary file without a name, because those of a large split may not fit
    in memory.
    """
    order = contexts.longest_first()
    texts: list[str] = [""] * len(order)
    shown: list[str] = [""] * len(order)
    queries: list[NextQuery] = []
    images: NDArray[np.uint8] | None = None
    with progress() as bar:
        task = bar.add_task(description, total=len(contexts))
        for start in range(0, len(contexts), BATCH):
            indices = order[start : start + BATCH]
            context = contexts.batch(indices)
            prediction = model.predict(context, decoding)
            queries += [prediction.next] if prediction.next else []
            for index, text, story in zip(indices.tolist(), prediction.texts, context.texts, strict=True):
                texts[index], shown[index] = normalize(text), shown_text(model.text_decoder, text, story)
            generated = to_bytes(prediction.images)
            if images is None:
                images = scratch_array((len(contexts), *generated.shape[1:]), np.uint8)
            images[indices] = generated
            bar.advance(task, len(indices))
    assert images is not None, "a split without windows is not predicted"
    joined = _join_queries(queries).take(np.argsort(order)) if queries else None
    return Predictions(texts, ArrayRows(images), queries=joined, shown=shown)


def shown_text(decoder: TextDecoder, text: str, context: Sequence[str]) -> str:
    """Return a generated text as the decoder wrote it, without tags.

    Where the decoder's tokens lose the case or spacing of the context's texts, it is normalized, which removes the
    spaces that such tokens leave around punctuation.
    """
    ids = torch.from_numpy(decoder.tokenize(context).ids)
    pairs = zip(context, decoder.detokenize(ids), strict=True)
    lossless = all(" ".join(true.split()).startswith(" ".join(back.split())) for true, back in pairs)
    return without_tags(text).strip() if lossless else clean_text(text)


def _join_queries(batches: Sequence[NextQuery]) -> Queries:
    device = batches[0].visual.device

    def on_host(keys: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Vectors], Vectors]:
        @torch.no_grad()
        def to_keys(vectors: Vectors) -> Vectors:
            return to_array(keys(torch.from_numpy(vectors).to(device)))

        return to_keys

    return Queries(
        np.concatenate([to_array(batch.visual) for batch in batches]),
        np.concatenate([to_array(batch.text) for batch in batches]),
        on_host(batches[0].image_keys),
        on_host(batches[0].text_keys),
    )


def to_bytes(images: torch.Tensor) -> NDArray[np.uint8]:
    """Convert images (B, 3, H, W) in [0, 1] to (B, H, W, 3) uint8."""
    array: NDArray[np.uint8] = (images * 255).round().byte().movedim(1, -1).cpu().numpy()
    return array
