"""A run's model, loaded to predict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock

import torch

from ..api import Decoding, Story
from ..api.decoding import alternative_decodings
from ..config.choices import Resize
from ..config.experiment import own_decoding
from ..data.known_words import KNOWN_WORDS, KnownWords
from ..errors import VsrError
from ..model.story_model import StoryModel
from ..model.weights import choose_device, load_model
from ..plugin.registry import Registry
from ..runs.run import Run
from .predict import NextFrame, draw_frame, predict_alternatives

LISTED = 3
"""Stories named in a caution."""


@dataclass(frozen=True)
class Predictor:
    """The model of a run in eval mode on its device, and how it reads stories."""

    run: Run
    model: StoryModel
    device: torch.device
    checkpoint: str
    """Whose weights these are: "best", or "last"."""
    decoding: Decoding
    """The run's own."""
    context_frames: int
    image_size: int
    resize: Resize
    known_words: KnownWords | None
    """None if the text decoder needs none, or the run was trained before they were stored."""
    lock: Lock = field(default_factory=Lock, repr=False, compare=False)
    """Held while predicting: threads wait for each other."""

    def predict(self, story: Story, decodings: Sequence[Decoding]) -> list[NextFrame]:
        """Predict the frame after a story's last one by each of some decodings; see `predict_alternatives`."""
        with self.lock:
            return predict_alternatives(
                self.model,
                story,
                context_frames=self.context_frames,
                image_size=self.image_size,
                resize=self.resize,
                decodings=decodings,
                device=self.device,
            )

    def draw(self, story: Story, text: str, *, seed: int) -> NextFrame:
        """Generate the image of the frame after a story's last one from its text; see `draw_frame`.

        Raises VsrError if the image decoder does not read texts.
        """
        if not self.model.reads_text:
            name = self.run.config()["image_decoder"]["name"]
            raise VsrError(
                f"{self.run.folder}: the image decoder {name} does not read the text of a frame; name a run whose "
                "image decoder does, such as tokens or diffusion"
            )
        with self.lock:
            return draw_frame(
                self.model,
                story,
                text,
                context_frames=self.context_frames,
                image_size=self.image_size,
                resize=self.resize,
                seed=seed,
                device=self.device,
            )

    def caution_on(self, stories: Sequence[Story]) -> str | None:
        """Return a sentence if most words of some stories are in no training text; None if all are like those."""
        if self.known_words is None:
            return None
        unlike = []
        for story in stories:
            share = self.known_words.unknown_share(frame.text or "" for frame in story.frames[-self.context_frames :])
            if share is not None:
                unlike.append((story.id, share))
        if not unlike:
            return None
        names = [name for name, _ in unlike]
        if len(stories) == 1:
            of = f"{names[0]}: {unlike[0][1]:.0%} of its words"
        else:
            more = " and others" if len(names) > LISTED else ""
            of = f"{len(names)} of {len(stories)} stories ({', '.join(names[:LISTED])}{more}): most of their words"
        return (
            f"{of} are in no story that the run {self.run.folder.resolve().name} was trained on, so expect little "
            "sense; train on such stories with 'vsr prepare my_stories/' and 'vsr train --data data/my_stories'"
        )

    def alternatives(self, decoding: Decoding, count: int) -> list[Decoding]:
        """Return the decodings of some alternatives, the first of them `decoding` itself.

        Raises VsrError if there are several and nothing about a prediction is random.
        """
        if count > 1 and not self.model.can_vary(decoding):
            config = self.run.config()
            way = "add --decoding sample, or name a run whose"
            if not self.model.models_text:
                way = "name a run whose text decoder writes texts of its own, or whose"
            raise VsrError(
                f"--alternatives {count}: neither the text ({decoding.method} decoding by "
                f"{config['text_decoder']['name']}) nor the image ({config['image_decoder']['name']}) is random, so "
                f"all would be the same; {way} image decoder generates from a seed"
            )
        return alternative_decodings(decoding, count)


def load_predictor(run: Run, registry: Registry, *, device: str = "auto", checkpoint: str = "best") -> Predictor:
    """Load a run's model onto a device. Raises VsrError as `load_model` and `choose_device` do."""
    chosen = choose_device(device)
    config = run.config()
    data = config["data"]
    model = load_model(run, registry, which=checkpoint).to(chosen)
    return Predictor(
        run,
        model,
        chosen,
        run.which_checkpoint(checkpoint),
        own_decoding(config, where=f"{run.folder}/config.json"),
        context_frames=int(data["context_frames"]),
        image_size=int(data["image_size"]),
        resize=data["resize"],
        known_words=KnownWords.load(words) if (words := run.assets / KNOWN_WORDS).exists() else None,
    )
