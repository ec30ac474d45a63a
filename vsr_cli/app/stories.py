"""The story on the page: given frames, and those that a run predicted after them. It knows nothing of Gradio."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from ..api import is_blank
from ..data.images import decode_image, image_suffix, png_bytes
from ..errors import VsrError
from ..files.strict_json import to_json
from ..inference.predict import refuse_surrogates
from ..python.model import DecodingOptions, Model
from ..report.animation import animation_frames, write_gif
from ..report.storyboard import context_panel, draw_storyboard, in_rows, story_panel

LONGEST_STORY = 24
"""Frames of a story on the page."""
LONGEST_TEXT = 2000
"""Characters of a text."""
PREVIEW = 600
"""Pixels of the longer side of an image as the page shows it."""


@dataclass(frozen=True)
class GivenFrame:
    """A frame that a visitor brought."""

    image: Path
    """The file as it was uploaded."""
    text: str
    preview: bytes
    """A JPEG for the page. Compressed, as stories stay in memory for hours."""


@dataclass(frozen=True)
class GrownFrame:
    """A frame that a run predicted."""

    alternatives: tuple[tuple[str, bytes], ...]
    """All predictions of it: the text, and the image as a PNG."""
    pick: int
    """Which of them the story goes on with, from 1."""
    how: dict[str, Any]
    """The decoding."""
    edited: bool = False
    caution: str | None = None
    """Why it makes no sense, if the story is unlike all that the run was trained on."""

    @property
    def text(self) -> str:
        """The text that the story goes on with."""
        return self.alternatives[self.pick - 1][0]

    @property
    def image(self) -> bytes:
        """The image that the story goes on with, as a PNG."""
        return self.alternatives[self.pick - 1][1]


@dataclass(frozen=True)
class PageStory:
    """A story, and what one run made of it."""

    given: tuple[GivenFrame, ...] = ()
    grown: tuple[GrownFrame, ...] = ()

    @property
    def caution(self) -> str | None:
        """Why its frames make no sense, if that is known."""
        return next((frame.caution for frame in self.grown if frame.caution), None)

    @property
    def texts(self) -> list[str]:
        """The texts of all frames."""
        return [text for _, text in self.pairs(LONGEST_STORY)]

    def pairs(self, count: int) -> list[tuple[Path | bytes, str]]:
        """Return the first frames as the Python API takes them; `count` may exceed their number."""
        pairs: list[tuple[Path | bytes, str]] = [(frame.image, frame.text) for frame in self.given]
        pairs += [(frame.image, frame.text) for frame in self.grown]
        return pairs[:count]

    def is_of(self, given: Sequence[GivenFrame]) -> bool:
        """Return whether it was grown from these frames."""
        return [(each.image, each.text) for each in self.given] == [(each.image, each.text) for each in given]


def read_given(images: Sequence[str | None], texts: Sequence[str | None], *, least: int) -> tuple[GivenFrame, ...]:
    """Check frames that a visitor brought. Empty ones at the end are left out, down to `least` frames.

    Raises VsrError, naming the frame, if an image cannot be read, or one half of a frame is missing.
    """
    if len(images) != len(texts):
        raise VsrError(f"{len(images)} images and {len(texts)} texts; bring one text for each image")
    if len(images) > LONGEST_STORY:
        raise VsrError(f"{len(images)} images; bring at most {LONGEST_STORY}, the last ones of the story")
    halves = [(image, (text or "").strip()) for image, text in zip(images, texts, strict=True)]
    while len(halves) > least and halves[-1] == (None, ""):
        halves.pop()
    return tuple(_read_frame(number, image, text) for number, (image, text) in enumerate(halves, start=1))


def _read_frame(number: int, image: str | None, text: str) -> GivenFrame:
    if image is None:
        raise VsrError(f"frame {number}: it has no image; every frame needs an image and a text")
    if is_blank(text):
        raise VsrError(f"frame {number}: it has no text; every frame needs an image and a text")
    check_text(text, where=f"frame {number}")
    return GivenFrame(Path(image), text, read_upload(image, where=f"image {number}"))


def check_text(text: str, *, where: str) -> None:
    """Raise VsrError if a text is longer than the page takes, or not text."""
    refuse_surrogates(text, where=where)  # JSON can have half of a surrogate pair
    if len(text) > LONGEST_TEXT:
        raise VsrError(f"{where}: its text is too long (got {len(text)} characters); write at most {LONGEST_TEXT}")


def read_upload(path: str, *, where: str) -> bytes:
    """Return an uploaded image as a JPEG of the page's size. Raises VsrError, as for any image of a story."""
    image = decode_image(Path(path), where=f"{where} ({Path(path).name})", size=PREVIEW // 2)
    image.thumbnail((PREVIEW, PREVIEW), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90)
    return file.getvalue()


def grow(
    model: Model, story: PageStory, *, alternatives: int = 1, decoding: DecodingOptions | None = None
) -> PageStory:
    """Predict the next frame of a story. Raises VsrError as `Model.predict`, or if the story is too long for a page."""
    count = len(story.given) + len(story.grown)
    if count >= LONGEST_STORY:
        raise VsrError(f"the story has {count} frames, the most of a page; download it and use 'vsr continue'")
    if story.grown and is_blank(story.grown[-1].text):
        raise VsrError(f"frame {count} has no words, so the story cannot go on from it; edit its text, or remove it")
    frame = model.predict(story.pairs(count), alternatives=alternatives, **(decoding or {}))
    made = tuple((each.text, png_bytes(each.image)) for each in frame.alternatives)
    return replace(story, grown=(*story.grown, GrownFrame(made, 1, frame.decoding, caution=frame.caution)))


def pick(story: PageStory, number: int | None) -> PageStory:
    """Go on with another alternative of the last frame, counted from 1. Raises VsrError if there is none."""
    if not story.grown or not isinstance(number, int) or not 1 <= number <= len(story.grown[-1].alternatives):
        raise VsrError(f"prediction {number}: the last frame has no such prediction; ask for alternatives first")
    return replace(story, grown=(*story.grown[:-1], replace(story.grown[-1], pick=number)))


def edit(model: Model, story: PageStory, number: int, text: str, *, seed: int) -> PageStory:
    """Change the text of a predicted frame, and its image if the run draws from texts; later frames are left out.

    `number` counts all frames of the story, from 1. Raises VsrError as `Model.draw`.
    """
    index = number - 1 - len(story.given)
    if not 0 <= index < len(story.grown):
        raise VsrError(f"frame {number}: the story has no such predicted frame; predict one first")
    text = text.strip()
    if is_blank(text):
        raise VsrError(f"frame {number}: no words; write its text")
    check_text(text, where=f"frame {number}")
    old = story.grown[index]
    image = png_bytes(model.draw(story.pairs(number - 1), text, seed=seed)) if model.reads_text else old.image
    how = {**old.how, "seed": seed} if model.reads_text else old.how
    return replace(story, grown=(*story.grown[:index], GrownFrame(((text, image),), 1, how, edited=True)))


def without_last(story: PageStory) -> PageStory:
    """Return a story without its last predicted frame."""
    return replace(story, grown=story.grown[:-1])


@dataclass(frozen=True)
class ShownFrame:
    """A frame as it is shown."""

    label: str
    text: str
    image: bytes
    marked: bool
    """Whether it is predicted, or the one of several predictions that was picked."""


def shown_frames(story: PageStory) -> list[ShownFrame]:
    """Return all frames of a story, predicted ones marked."""
    frames = [(each.text, each.preview) for each in story.given] + [(each.text, each.image) for each in story.grown]
    given = len(story.given)
    return [
        ShownFrame(f"frame {number}" if number <= given else f"frame {number}, predicted", *frame, number > given)
        for number, frame in enumerate(frames, start=1)
    ]


def shown_alternatives(story: PageStory) -> list[ShownFrame]:
    """Return the alternatives of the last frame, the picked one marked; none if it has no other ones."""
    if not story.grown or len(story.grown[-1].alternatives) == 1:
        return []
    last = story.grown[-1]
    return [
        ShownFrame(f"prediction {number}{', picked' if number == last.pick else ''}", *frame, number == last.pick)
        for number, frame in enumerate(last.alternatives, start=1)
    ]


def zipped(story: PageStory, *, run: Path) -> bytes:
    """Return a ZIP of the story folder, which `vsr continue` takes, its storyboard, its animation and its record.

    Raises VsrError if the story has no frames.
    """
    if not story.texts:
        raise VsrError("story: it has no frames; predict one first")
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, (image, text) in enumerate(story.pairs(LONGEST_STORY), start=1):
            stem = f"story/{number:02}"
            if isinstance(image, Path):
                archive.writestr(f"{stem}{image_suffix(image)}", image.read_bytes())
            else:
                archive.writestr(f"{stem}.png", image)
            archive.writestr(f"{stem}.txt", f"{text}\n")
        panels = [
            (story_panel if each.marked else context_panel)(number, Image.open(io.BytesIO(each.image)), each.text)
            for number, each in enumerate(shown_frames(story), start=1)
        ]
        archive.writestr("storyboard.png", png_bytes(draw_storyboard(in_rows(panels, 4))))
        animation = io.BytesIO()
        write_gif(animation_frames(panels), animation)
        archive.writestr("story.gif", animation.getvalue())
        archive.writestr("app.json", to_json(_record(story, run)))
    return content.getvalue()


def _record(story: PageStory, run: Path) -> dict[str, Any]:
    first = len(story.given) + 1
    return {
        "run": run.name,
        "given_frames": len(story.given),
        "predicted": [
            {
                "frame": number,
                "text": frame.text,
                "edited": frame.edited,
                "pick": frame.pick,
                "alternatives": [text for text, _ in frame.alternatives],
                "decoding": frame.how,
                "caution": frame.caution,
            }
            for number, frame in enumerate(story.grown, start=first)
        ],
    }
