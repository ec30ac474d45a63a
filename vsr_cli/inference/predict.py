"""Prediction of the next frame of a user's story."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ..api import Context, Decoding, Frame, Story, copied_share, is_blank
from ..config.choices import Resize
from ..data.batches import Contexts
from ..data.cache.extraction import Features
from ..data.images import decode_image, read_image, unfit_image
from ..data.prepared_types import Frames, Windows
from ..data.shards import ArrayRows
from ..data.windows import repeat_last
from ..errors import VsrError
from ..evaluation.copying import OVERLAP, REPEATS, REPEATS_IMAGE, repeated_image, repeated_text
from ..evaluation.normalize import clean_text
from ..evaluation.predictions import shown_text, to_bytes
from ..files.atomic import file_name, write_json
from ..model.story_model import StoryModel
from ..report.storyboard import Panel, context_panel, draw_storyboard, predicted_panel, save_image
from ..runs.predictions import RECORD, STORYBOARD


@dataclass(frozen=True)
class ContextFrame:
    """A validated frame of the context."""

    number: int
    """Its number in the story, from 1."""
    image: Image.Image
    """At full resolution, for display."""
    pixels: NDArray[np.uint8]
    """(H, W, 3) as in prepared data, for the model."""
    text: str
    source: str | None
    """Path of the image, if it has one."""


@dataclass(frozen=True)
class NextFrame:
    """A predicted frame and its context."""

    story: str
    context: tuple[ContextFrame, ...]
    text: str
    image: Image.Image
    """Square, as the model generated it."""
    resize: Resize
    """How images were made square for the model."""


def read_context(story: Story, *, context_frames: int, image_size: int, resize: Resize) -> tuple[ContextFrame, ...]:
    """Check and decode the last `context_frames` frames of a story (fewer where it has fewer).

    Raises VsrError if one of them has no image, no text or an image that cannot be read.
    """
    if not story.frames:
        raise VsrError(f"{story.id}: a story without frames; add pairs such as 01.jpg and 01.txt")
    first = max(0, len(story.frames) - context_frames)
    return tuple(_check(story, index, image_size, resize) for index in range(first, len(story.frames)))


def _check(story: Story, index: int, image_size: int, resize: Resize) -> ContextFrame:
    frame: Frame = story.frames[index]
    where = f"story {story.id}, frame {index + 1}"
    named = f"frame {index + 1}"  # which some notes begin with, as `where` does
    notes = [note.detail.removeprefix(named).lstrip(": ") for note in story.notes if note.frame == index]
    for half, what in ((frame.image, "image"), (frame.text and not is_blank(frame.text), "text")):
        if not half:
            reason = "; ".join(notes) or f"it has no {what}"
            raise VsrError(f"{where}: {reason}; every frame of a context needs an image and a text")
    assert frame.image is not None
    assert frame.text is not None
    refuse_surrogates(frame.text, where=where)
    path = str(frame.image) if isinstance(frame.image, Path) else None
    image = decode_image(frame.image, where=path or where)
    # Decoded again by the same steps as in `prepare`, which may read a JPEG at a fraction of its size.
    square = read_image(frame.image, where=path or where, size=image_size, resize=resize)
    return ContextFrame(index + 1, image, square.pixels, frame.text.strip(), path)


def refuse_surrogates(text: str, *, where: str) -> None:
    """Raise VsrError if a text holds half of a character, which no tokenizer and no file takes."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = f"U+{ord(text[error.start]):04X}"
        raise VsrError(f"{where}: its text is not Unicode (got a lone surrogate, {half}); correct it") from error


def predict_alternatives(
    model: StoryModel,
    story: Story,
    *,
    context_frames: int,
    image_size: int,
    resize: Resize,
    decodings: Sequence[Decoding],
    device: torch.device,
) -> list[NextFrame]:
    """Predict the frame after a story's last one from its last K frames, by each of some decodings.

    They differ in their seeds alone. A story of fewer frames has its last one repeated. `context_frames` (K),
    `image_size` and `resize` are those of the data that `model` was trained on. It is in eval mode on `device`. Raises
    VsrError as `read_context` does.
    """
    context = read_context(story, context_frames=context_frames, image_size=image_size, resize=resize)
    texts = [frame.text for frame in context]
    return [
        NextFrame(
            story.id,
            context,
            shown_text(model.text_decoder, prediction.texts[0], texts),
            Image.fromarray(to_bytes(prediction.images)[0]),
            resize,
        )
        for prediction in model.predict_alternatives(_batch(model, story, context, context_frames, device), decodings)
    ]


def draw_frame(
    model: StoryModel,
    story: Story,
    text: str,
    *,
    context_frames: int,
    image_size: int,
    resize: Resize,
    seed: int,
    device: torch.device,
) -> NextFrame:
    """Return the frame after a story's last one, with a text that someone else wrote and an image generated for it.

    The other arguments are those of `predict_alternatives`. The model's image decoder is a generative one.
    """
    context = read_context(story, context_frames=context_frames, image_size=image_size, resize=resize)
    images = model.draw(_batch(model, story, context, context_frames, device), [text], seed=seed)
    return NextFrame(story.id, context, text, Image.fromarray(to_bytes(images)[0]), resize)


def _batch(
    model: StoryModel, story: Story, context: Sequence[ContextFrame], context_frames: int, device: torch.device
) -> Context:
    """Return a batch of one story."""
    # There is no target: its column, which Contexts does not read, repeats the last frame.
    rows = np.asarray([repeat_last(range(len(context)), context_frames + 1)], dtype=np.int64)  # (1, K + 1)
    repeated = np.zeros(rows.shape, dtype=np.bool_)
    repeated[0, len(context) :] = True
    texts = [frame.text for frame in context]
    # Texts that are the same have the same row, as in prepared data.
    text_rows = np.asarray([[texts.index(texts[row]) for row in rows[0]]], dtype=np.int64)
    contexts = Contexts(
        Frames(ArrayRows(np.stack([frame.pixels for frame in context])), texts),
        Windows([story.id], rows, text_rows, repeated, np.zeros(1, dtype=np.int64)),
        visual=model.visual,
        text=model.text,
        features=Features(visual=None, text=None, tokens=model.text.tokenize(texts)),
        device=device,
    )
    return contexts.batch(np.zeros(1, dtype=np.int64))


def copied_from(predicted: NextFrame) -> dict[str, float | int | None]:
    """Return the numbers of the frames whose text and image are repeated, if any, and the share of copied 4-grams."""
    texts = [clean_text(frame.text) for frame in predicted.context]
    written = clean_text(predicted.text)
    text = repeated_text(written, texts)
    image = repeated_image(np.asarray(predicted.image), [frame.pixels for frame in predicted.context])
    return {
        REPEATS: None if text is None else predicted.context[text].number,
        OVERLAP: copied_share(written, texts),
        REPEATS_IMAGE: None if image is None else predicted.context[image].number,
    }


def described_copy(predicted: NextFrame, number: int) -> str:
    """Return what the image is, "that of frame 8", given the number of the frame whose image it repeats."""
    pixels = next(frame.pixels for frame in predicted.context if frame.number == number)
    equal = np.array_equal(pixels, np.asarray(predicted.image))
    return f"that of frame {number}" if equal else f"a near-duplicate of that of frame {number}"


def write_prediction(predicted: NextFrame, folder: Path, *, run: Path, decoding: Decoding) -> dict[str, Any]:
    """Write image.png, storyboard.png and prediction.json, and return the content of the last."""
    (folder / RECORD).unlink(missing_ok=True)  # written last: it marks the images as complete
    save_image(shown_image(predicted), folder / "image.png")
    save_image(storyboard_of(predicted), folder / STORYBOARD)
    record = record_of(predicted, folder / "image.png", run=run, decoding=decoding)
    write_json(folder / RECORD, record, seal=False)
    return record


def storyboard_of(predicted: NextFrame) -> Image.Image:
    """Return an image of the context and the prediction, in a row."""
    return draw_storyboard([[*context_panels(predicted), predicted_panel(shown_image(predicted), predicted.text)]])


def context_panels(predicted: NextFrame) -> list[Panel]:
    """Return the panels of the context."""
    return [context_panel(frame.number, frame.image, frame.text) for frame in predicted.context]


def shown_image(predicted: NextFrame) -> Image.Image:
    """Return the predicted image in the proportions of the last one of the context."""
    last = predicted.context[-1].image
    return unfit_image(predicted.image, width=last.width, height=last.height, resize=predicted.resize)


def record_of(predicted: NextFrame, image: Path, *, run: Path, decoding: Decoding) -> dict[str, Any]:
    """Return a prediction as JSON data. `image` is the path of its image."""
    return {
        "story": predicted.story,
        "context": [{"frame": frame.number, "image": frame.source, "text": frame.text} for frame in predicted.context],
        "text": predicted.text,
        "copied": copied_from(predicted),
        "image": str(image),
        "run": str(run),
        "decoding": decoding.facts(),
    }


def output_folders(stories: Sequence[str], out: Path) -> list[Path]:
    """Return a folder of its own under `out` for each story, with a safe name."""
    folders: list[Path] = []
    taken: set[str] = set()
    for story in stories:
        name = file_name(story)
        unique, number = name, 2
        # Some file systems ignore case.
        while unique.casefold() in taken:
            unique = f"{name}_{number}"
            number += 1
        taken.add(unique.casefold())
        folders.append(out / unique)
    return folders
