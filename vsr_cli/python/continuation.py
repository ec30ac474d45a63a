"""A story that a model continued."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import overload

from PIL import Image

from ..data.images import png_bytes
from ..inference.continuation import Continuation
from ..inference.continuation_storing import (
    steps_storyboard,
    store_continuation,
    story_panels,
    story_storyboard,
)
from ..report.animation import animation_frames, check_mp4, write_gif
from .frames import PredictedFrame, frames_together, html_image, html_note
from .images import ImageLike
from .settings import path_of, reporting_errors


class ContinuedStory(Sequence[PredictedFrame]):
    """The predicted frames of a story that was continued, in order. Jupyter shows the storyboard of the whole story."""

    def __init__(self, continued: Continuation, *, run: Path, caution: str | None = None) -> None:
        """Wrap a continuation by a run. Models make these; a program has no reason to."""
        self.caution: str | None = caution
        """As that of a `PredictedFrame`, of the given frames."""
        self._continued = continued
        self._run = run
        self._frames: list[PredictedFrame] = []
        for step in continued.steps:
            frames = frames_together(step.alternatives, continued.decodings, run=run)
            for frame in frames:
                frame._all = frames
            self._frames.append(frames[step.pick - 1])

    @overload
    def __getitem__(self, index: int) -> PredictedFrame: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[PredictedFrame]: ...
    def __getitem__(self, index: int | slice) -> PredictedFrame | Sequence[PredictedFrame]:
        """Return the predicted frame of a step, from 0."""
        return self._frames[index]

    def __len__(self) -> int:
        """Return the number of predicted frames."""
        return len(self._frames)

    @property
    def texts(self) -> list[str]:
        """The texts of the whole story, those of the given frames first."""
        return [frame.text or "" for frame in self._continued.given.frames] + [frame.text for frame in self]

    @property
    def images(self) -> list[Image.Image]:
        """The images of the whole story, those of the given frames first."""
        return [*self._continued.images, *(frame.image for frame in self)]

    @property
    def pairs(self) -> list[tuple[ImageLike, str]]:
        """The whole story, as `Model.predict` and `Model.continue_story` take it."""
        given = [frame.image for frame in self._continued.given.frames]
        return list(zip([*given, *(frame.image for frame in self)], self.texts, strict=True))

    def storyboard(self) -> Image.Image:
        """Return an image of the whole story, the predicted frames marked."""
        return story_storyboard(self._continued)

    def alternatives_storyboard(self) -> Image.Image:
        """Return an image of all alternatives of each step, those that the story went on with marked."""
        return steps_storyboard(self._continued)

    def gif(self) -> bytes:
        """Return the story as an animation, one frame after the other: the bytes of a GIF."""
        file = io.BytesIO()
        write_gif(animation_frames(story_panels(self._continued)), file)
        return file.getvalue()

    def save(self, folder: str | os.PathLike[str], *, mp4: bool = False) -> Path:
        """Write what `vsr continue` writes, and return the folder of the story in it, which can be continued again.

        Beside it are storyboard.png, story.gif, with `mp4` story.mp4, continuation.json and the alternatives. Raises
        VsrError if the story folder was edited since it was written, or if `mp4` needs a package that is missing.
        """
        if mp4:
            check_mp4()
        out = path_of(folder, "folder")
        with reporting_errors():
            return Path(store_continuation(self._continued, out, run=self._run, mp4=mp4)["folder"])

    def __repr__(self) -> str:
        given = len(self._continued.given.frames)
        return f"ContinuedStory({self._continued.given.id!r}, {given} frames and {len(self)} predicted)"

    def _repr_png_(self) -> bytes:
        return png_bytes(self.storyboard())

    def _repr_html_(self) -> str:
        lines = "".join(f"<p>{escape(frame.text) or '<i>no words</i>'}</p>" for frame in self)
        image = html_image(self.storyboard(), alt=f"storyboard of {self._continued.given.id}")
        return f"{image}{lines}{html_note(self.caution)}"
