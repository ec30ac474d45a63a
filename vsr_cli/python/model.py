"""A trained model in a Python program."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack, cast, overload

from PIL import Image

from ..api import Decoding, Story, is_blank
from ..config.experiment import decoding_layer, resolve_decoding
from ..console import warn
from ..errors import VsrError
from ..inference.continuation import continue_story
from ..inference.continuation_checks import check_size, check_steps, picks_of
from ..inference.predict import refuse_surrogates, shown_image
from ..inference.predictor import Predictor, load_predictor
from ..inference.story_folders import notes_on, open_reader, story_up_to
from ..runs.opening import open_run
from ..runs.run import Run
from ..workflows.settings import load_registry
from .continuation import ContinuedStory
from .frames import PredictedFrame, frames_together
from .images import ImageLike
from .settings import layers_of, path_of, pick_list, reporting_errors, whole
from .stories import StoryLike, is_story, read_story, story_of

CHECKPOINTS = ("best", "last")


class DecodingOptions(TypedDict, total=False):
    """How texts are generated; what is left out is as the run was trained to. `vsr_cli.api.Decoding` describes them."""

    method: Literal["greedy", "beam", "sample", "mbr"]
    seed: int
    """Of sampled texts and generated images."""
    beams: int
    length_penalty: float
    temperature: float
    top_k: int
    top_p: float
    samples: int
    utility: Literal["meteor", "embedding", "both"]
    context_weight: float
    context_candidates: bool
    no_repeat_ngram: int


class Model:
    """A trained model: made by `vsr_cli.load`. It can be used from several threads; predictions wait for each other."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._registry = load_registry()
        self._reader = open_reader(self._registry)
        self._warned: set[str] = set()

    @property
    def run(self) -> Path:
        """The run folder."""
        return self._predictor.run.folder

    @property
    def data(self) -> Path:
        """The prepared folder that it was trained on."""
        return Path(self._predictor.run.facts()["data"])

    @property
    def device(self) -> str:
        """The device that it predicts on."""
        return str(self._predictor.device)

    @property
    def config(self) -> dict[str, Any]:
        """The configuration of the run: its components, settings and data."""
        return self._predictor.run.config()

    @property
    def context_frames(self) -> int:
        """How many frames a prediction is made from, K."""
        return self._predictor.context_frames

    @property
    def cautions(self) -> list[str]:
        """What to know of its decoders, such as that one only repeats what is in the story."""
        return self._predictor.model.cautions

    @overload
    def predict(  # type: ignore[overload-overlap]  # a story and a list of them are both sequences
        self,
        story: StoryLike,
        *,
        from_frame: int | None = None,
        alternatives: int = 1,
        **decoding: Unpack[DecodingOptions],
    ) -> PredictedFrame: ...
    @overload
    def predict(
        self,
        *,
        images: Sequence[ImageLike],
        texts: Sequence[str],
        from_frame: int | None = None,
        alternatives: int = 1,
        **decoding: Unpack[DecodingOptions],
    ) -> PredictedFrame: ...
    @overload
    def predict(
        self,
        story: Sequence[StoryLike],
        *,
        from_frame: int | None = None,
        alternatives: int = 1,
        **decoding: Unpack[DecodingOptions],
    ) -> list[PredictedFrame]: ...
    def predict(
        self,
        story: StoryLike | Sequence[StoryLike] | None = None,
        *,
        images: Sequence[ImageLike] | None = None,
        texts: Sequence[str] | None = None,
        from_frame: int | None = None,
        alternatives: int = 1,
        **decoding: Unpack[DecodingOptions],
    ) -> PredictedFrame | list[PredictedFrame]:
        """Predict the next frame of a story from its last K frames, as `vsr predict` does.

        Args:
            story: A folder of pairs or its story.json, or a list of pairs (image, text). A list of such stories returns
                a list of frames; each is what the story alone would return.
            images, texts: The frames of one story, in place of `story`. An image is a path, bytes, a Pillow image, or
                an array or tensor (H, W), (H, W, C) or (C, H, W) of integers from 0 to 255 or floats from 0 to 1.
            from_frame: Leave out the frames after this one, counted from 1.
            alternatives: How many predictions, of different random seeds; see `PredictedFrame.alternatives`.
            **decoding: How texts are generated, in place of the run's own settings: `method="sample"`, `seed=1`,
                `temperature=0.7` and so on. The seed also decides a generated image.

        Returns:
            A PredictedFrame; for a list of stories, a list of them.

        Raises:
            VsrError: A story or an option cannot be used; the message is one line per mistake.
        """
        with reporting_errors():
            chosen = self._decoding(decoding)
            decodings = self._alternatives(chosen, alternatives)
            if story is None or images is not None or texts is not None or is_story(story):
                one = self._one_story(cast(StoryLike | None, story), images, texts)
                return self._predict([one], decodings, from_frame)[0]
            return self._predict(self._stories(cast(Sequence[StoryLike], story)), decodings, from_frame)

    def _stories(self, values: Sequence[StoryLike]) -> list[Story]:
        if not isinstance(values, Sequence):
            kind = type(values).__name__
            raise VsrError(f"story: not a story (got {kind}); pass a folder, or a list of pairs (image, text)")
        if not values:
            raise VsrError("story: an empty list; pass pairs (image, text), or stories")
        stories, mistakes = list[Story](), list[str]()
        for number, value in enumerate(values, start=1):
            try:
                stories.append(read_story(self._reader, value, name=f"story-{number}"))
            except VsrError as error:
                mistakes += error.lines
        if mistakes:
            raise VsrError(*mistakes)
        return stories

    def _predict(
        self, stories: Sequence[Story], decodings: Sequence[Decoding], from_frame: int | None
    ) -> list[PredictedFrame]:
        stories = [story_up_to(story, whole(from_frame)) for story in stories]
        self._warn_of(stories)
        frames = []
        for story in stories:
            predicted, caution = self._predictor.predict(story, decodings), self._predictor.caution_on([story])
            notes = notes_on(story, self.context_frames)
            frames.append(frames_together(predicted, decodings, run=self.run, notes=notes, caution=caution)[0])
        return frames

    def _warn_of(self, stories: Sequence[Story]) -> None:
        """Warn, once of each, of stories that are unlike all that the run was trained on."""
        new = [story for story in stories if story.id not in self._warned]
        if caution := self._predictor.caution_on(new):
            self._warned |= {story.id for story in new}
            warn(caution)

    def continue_story(
        self,
        story: StoryLike | None = None,
        *,
        images: Sequence[ImageLike] | None = None,
        texts: Sequence[str] | None = None,
        steps: int = 3,
        alternatives: int = 1,
        pick: int | Sequence[int] = 1,
        from_frame: int | None = None,
        **decoding: Unpack[DecodingOptions],
    ) -> ContinuedStory:
        """Continue a story by several frames, as `vsr continue` does: each predicted frame joins the context.

        Args:
            story, images, texts, from_frame, **decoding: As in `predict`.
            steps: How many frames to predict.
            alternatives: How many predictions of each frame; all are in `frame.alternatives`.
            pick: With which of them the story goes on, from 1; of several numbers one per step, the last one at all
                further steps.

        Returns:
            The predicted frames that the story went on with: a sequence, with the story around them.

        Raises:
            VsrError: As `predict`; or a frame was predicted without words, from which no story can go on.
        """
        with reporting_errors():
            steps, alternatives = whole(steps), whole(alternatives)
            check_steps(steps)
            chosen = self._decoding(decoding)
            decodings = self._alternatives(chosen, alternatives)
            check_size(steps=steps, alternatives=alternatives)
            picks = picks_of(pick_list(pick), steps=steps, alternatives=alternatives)
            given = story_up_to(self._one_story(story, images, texts), whole(from_frame))
            self._warn_of([given])
            continued = continue_story(self._predictor, given, decodings=decodings, picks=picks)
            return ContinuedStory(continued, run=self.run, caution=self._predictor.caution_on([given]))

    @property
    def reads_text(self) -> bool:
        """Whether its images are generated from the text of the frame, so that `draw` can be used."""
        return self._predictor.model.reads_text

    def draw(self, story: StoryLike, text: str, *, from_frame: int | None = None, seed: int = 0) -> Image.Image:
        """Generate the image of a story's next frame from a text that you wrote.

        Args:
            story, from_frame: As in `predict`.
            text: The text of the next frame.
            seed: Random seed of the image.

        Returns:
            A Pillow image, in the proportions of the story's last one.

        Raises:
            VsrError: As `predict`; or the image decoder does not read texts, see `reads_text`; or the text is blank.
        """
        with reporting_errors():
            if not isinstance(text, str) or is_blank(text):
                raise VsrError(f"text: no words (got {text!r}); write the text of the next frame")
            refuse_surrogates(text, where="text")
            given = story_up_to(self._one_story(story, None, None), whole(from_frame))
            chosen = self._decoding({"seed": seed})
            return shown_image(self._predictor.draw(given, text.strip(), seed=chosen.seed))

    def _one_story(
        self, story: StoryLike | None, images: Sequence[ImageLike] | None, texts: Sequence[str] | None
    ) -> Story:
        if story is None:
            return story_of(images, texts)
        if images is not None or texts is not None:
            raise VsrError("story: pass a story, or images and texts, not both")
        return read_story(self._reader, story)

    def _decoding(self, options: DecodingOptions) -> Decoding:
        base = decoding_layer(self._predictor.decoding, where=f"{self.run}/config.json")
        layers = layers_of({name: (f"decoding.{name}", value) for name, value in options.items()}, None)
        return resolve_decoding(self._registry, [base, *layers])

    def _alternatives(self, decoding: Decoding, count: int) -> list[Decoding]:
        count = whole(count)
        if not isinstance(count, int) or not 1 <= count <= 100:
            raise VsrError(f"alternatives: not a number from 1 to 100 (got {count!r})")
        return self._predictor.alternatives(decoding, count)

    def __repr__(self) -> str:
        parts = self.config
        names = {name: parts[name]["name"] for name in ("temporal", "text_decoder", "image_decoder")}
        listed = ", ".join(f"{name}={value}" for name, value in names.items())
        return f"Model({str(self.run)!r}, {listed}, device={self.device})"


def load(
    run: str | os.PathLike[str] | None = None, *, device: str = "auto", checkpoint: Literal["best", "last"] = "best"
) -> Model:
    """Load the model of a run.

    Args:
        run: Its folder, its name under runs/, or "user/name[@revision]" on the Hugging Face Hub.
            Default: the newest finished one under runs/.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        checkpoint: Which weights: those of the best validation loss, or the last ones.

    Raises:
        VsrError: There is no such run, it is damaged, or a plugin that it was trained with is not installed.
    """
    if checkpoint not in CHECKPOINTS:
        raise VsrError(f"checkpoint: {checkpoint!r} is not one of {', '.join(CHECKPOINTS)}")
    with reporting_errors():
        opened = open_run(None if run is None else path_of(run, "run"))
        there = Run(opened.folder.absolute())  # a program may change its working directory
        return Model(load_predictor(there, load_registry(), device=str(device), checkpoint=checkpoint))
