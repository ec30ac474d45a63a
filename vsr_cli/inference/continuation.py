"""Continuing a story by several frames: each predicted frame becomes the newest one of the context."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from PIL import Image

from ..api import Decoding, Frame, Story, is_blank
from ..data.images import decode_image, png_bytes
from ..errors import VsrError
from .predict import NextFrame, refuse_surrogates, shown_image
from .predictor import Predictor


@dataclass(frozen=True)
class Step:
    """One predicted frame."""

    number: int
    """Of the frame in the story, from 1."""
    alternatives: tuple[NextFrame, ...]
    """All predictions of it."""
    pick: int
    """Which of them the story goes on with, from 1."""

    @property
    def picked(self) -> NextFrame:
        """The prediction that the story goes on with."""
        return self.alternatives[self.pick - 1]


@dataclass(frozen=True)
class Continuation:
    """A story that was continued."""

    given: Story
    """The frames that it was continued from."""
    images: tuple[Image.Image, ...]
    """Those of the given frames, at full resolution."""
    steps: tuple[Step, ...]
    decodings: tuple[Decoding, ...]
    """Of the alternatives of each step."""


def continue_story(
    predictor: Predictor,
    story: Story,
    *,
    decodings: Sequence[Decoding],
    picks: Sequence[int],
    on_step: Callable[[Step], object] = lambda step: None,
) -> Continuation:
    """Predict the next frames of a story, one for each of `picks`, by each of some decodings.

    At each step all decodings predict the next frame, with the same seeds at every step, and the one that is picked
    becomes the newest frame of the context: so a story that is continued step by step is the same. Raises VsrError if
    a frame of the story lacks its image or text, or if nothing was written that the story could go on with.
    """
    images = tuple(_decoded(story, index) for index in range(len(story.frames)))
    steps: list[Step] = []
    going = story
    for pick in picks:
        step = Step(len(going.frames) + 1, tuple(predictor.predict(going, decodings)), pick)
        steps.append(step)
        on_step(step)
        if is_blank(step.picked.text) and len(steps) < len(picks):
            raise VsrError(
                f"{story.id}: frame {step.number} has no words, so the story cannot go on from it; set another --seed "
                "or --pick, or fewer --steps"
            )
        going = replace(going, frames=(*going.frames, frame_of(step.picked)))
    return Continuation(story, images, tuple(steps), tuple(decodings))


def frame_of(predicted: NextFrame) -> Frame:
    """Return a prediction as a frame of a story, as it is stored: the image in the story's proportions."""
    return Frame(image=png_bytes(shown_image(predicted)), text=predicted.text)


def _decoded(story: Story, index: int) -> Image.Image:
    frame, where = story.frames[index], f"story {story.id}, frame {index + 1}"
    for half, what in ((frame.image, "image"), (frame.text and not is_blank(frame.text), "text")):
        if not half:
            raise VsrError(f"{where}: it has no {what}; every frame of a story to continue needs both")
    assert frame.image is not None
    refuse_surrogates(frame.text or "", where=where)
    return decode_image(frame.image, where=where if isinstance(frame.image, bytes) else str(frame.image))
