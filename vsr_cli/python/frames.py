"""The result of a prediction."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from ..api import Decoding
from ..data.images import png_bytes
from ..inference.alternatives import alternatives_storyboard
from ..inference.predict import ContextFrame, NextFrame, copied_from, shown_image, storyboard_of
from ..inference.storing import store_prediction
from .settings import path_of, reporting_errors


class PredictedFrame:
    """The predicted next frame of a story. Jupyter shows its storyboard and its text."""

    def __init__(
        self,
        predicted: NextFrame,
        decoding: Decoding,
        *,
        run: Path,
        notes: Sequence[str] = (),
        caution: str | None = None,
    ) -> None:
        """Wrap a prediction of a run. Models make these; a program has no reason to."""
        self._predicted = predicted
        self._decoding = decoding
        self._run = run
        self._all: Sequence[PredictedFrame] = [self]
        self.notes: tuple[str, ...] = tuple(notes)
        """Which frames were the context, and what was odd in the story."""
        self.caution: str | None = caution
        """Why the prediction makes no sense, if the story is unlike all that the run was trained on; else None."""

    @property
    def text(self) -> str:
        """The generated text."""
        return self._predicted.text

    @property
    def image(self) -> Image.Image:
        """The generated image, in the proportions of the story's last one; as in image.png."""
        return shown_image(self._predicted)

    @property
    def story(self) -> str:
        """The id of the story."""
        return self._predicted.story

    @property
    def context(self) -> tuple[ContextFrame, ...]:
        """The frames that the model has seen: each with its `number`, `image` and `text`."""
        return self._predicted.context

    @property
    def seed(self) -> int:
        """The random seed, which matters if the text is sampled or the image generated."""
        return self._decoding.seed

    @property
    def decoding(self) -> dict[str, Any]:
        """How the text was generated: the method and its options."""
        return self._decoding.facts()

    @property
    def copied(self) -> dict[str, float | int | None]:
        """What is copied from the context: the frames whose text and image are repeated, the share of 4-grams."""
        return copied_from(self._predicted)

    @property
    def alternatives(self) -> tuple[PredictedFrame, ...]:
        """All predictions of this frame that were made together; this one itself if it is the only one."""
        return tuple(self._all)

    def storyboard(self) -> Image.Image:
        """Return an image of the context and the prediction, or of all alternatives below the context."""
        if len(self._all) > 1:
            return alternatives_storyboard([each._predicted for each in self._all])
        return storyboard_of(self._predicted)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write what `vsr predict` writes: image.png, storyboard.png and prediction.json; return the folder.

        Several alternatives are image-1.png and so on. Raises VsrError if another process writes there, or the folder
        cannot be written.
        """
        out = path_of(folder, "folder")
        with reporting_errors():
            store_prediction(
                [each._predicted for each in self._all],
                out,
                run=self._run,
                decodings=[each._decoding for each in self._all],
            )
        return out

    def __repr__(self) -> str:
        return f"PredictedFrame({self.text!r}, image {self.image.width}x{self.image.height}, seed {self.seed})"

    def _repr_png_(self) -> bytes:
        return png_bytes(self.storyboard())

    def _repr_html_(self) -> str:
        lines = "".join(f"<p>{escape(each.text) or '<i>no words</i>'}</p>" for each in self._all)
        lines += html_note(self.caution)
        return f"{html_image(self.storyboard(), alt=f'storyboard of {self.story}')}{lines}"


def frames_together(
    predicted: Sequence[NextFrame],
    decodings: Sequence[Decoding],
    *,
    run: Path,
    notes: Sequence[str] = (),
    caution: str | None = None,
) -> list[PredictedFrame]:
    """Return predictions that were made together, the first of which knows all of them."""
    frames = [
        PredictedFrame(each, decoding, run=run, notes=notes, caution=caution)
        for each, decoding in zip(predicted, decodings, strict=True)
    ]
    frames[0]._all = frames
    return frames


def html_note(caution: str | None) -> str:
    """Return a caution as an HTML element; "" for none."""
    return f"<p><b>Note:</b> {escape(caution)}</p>" if caution else ""


def html_image(image: Image.Image, *, alt: str) -> str:
    """Return an image as an HTML element that holds all of it."""
    data = base64.b64encode(png_bytes(image)).decode()
    return f'<img alt="{escape(alt, quote=True)}" style="max-width:100%" src="data:image/png;base64,{data}">'
