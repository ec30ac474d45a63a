"""Checks of image decoders, plain and generative: valid images that depend on no target, and a sound loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..api import GenerativeImageDecoder, ImageDecoder, Narrative, NextText, Target
from ..model.story_model import StoryModel
from .harness import Harness, describe, near, read
from .outcomes import Check, require

SEEDS = range(4)
UNUSUAL_TEXTS = ("", "zq zq zq, 1 \N{SNOWMAN} \n", "a long text without an end " * 40)
"""What a text decoder may write, too."""
NOT_GENERATIVE = "it is not generative"


@dataclass(frozen=True)
class Subject:
    """The image decoder under test, in evaluation mode, and its input."""

    model: StoryModel
    decoder: ImageDecoder | GenerativeImageDecoder
    narrative: Narrative
    target: Target

    def read(self, texts: Sequence[str]) -> NextText:
        """Return texts (B,) as a generative decoder reads them."""
        return self.model.read_text(texts, torch.device("cpu"))

    def story(self, row: int) -> Narrative:
        """Return the narrative of one story alone."""
        return self.model.encode_context(self.narrative.context.take([row]))

    def generate(
        self, *, texts: Sequence[str] | None = None, seed: int = 0, narrative: Narrative | None = None
    ) -> Tensor:
        """Generate from other texts than the true ones, another seed or another narrative."""
        narrative = self.narrative if narrative is None else narrative
        if not isinstance(self.decoder, GenerativeImageDecoder):
            return self.decoder(narrative)
        return self.decoder.generate(narrative, self.read(self.target.texts if texts is None else texts), seed)


def _subject(harness: Harness) -> Subject:
    model = harness.build()
    context, target = read(model)
    return Subject(model, model.image_decoder, model.encode_context(context), target)


@torch.no_grad()
def generates_in_range(harness: Harness) -> str | None:
    """Generate from a narrative, and from one ten times as large."""
    subject = _subject(harness)
    narrative = subject.narrative
    loud = replace(narrative, steps=10 * narrative.steps, summary=10 * narrative.summary)
    for each in (narrative, loud):
        images = subject.generate(narrative=each)
        shape = tuple(subject.target.image.shape)
        require(images.shape == shape, f"generated {describe(images)}, not (B, 3, H, W) = {shape}")
        low, high = images.min().item(), images.max().item()
        require(low >= 0 and high <= 1, f"generated pixels from {low:.3g} to {high:.3g}; bound them, e.g. by a sigmoid")
    return None


@torch.no_grad()
def ignores_target(harness: Harness) -> str | None:
    """Generate before and after computing the loss of two different targets."""
    subject = _subject(harness)
    decoder, target = subject.decoder, subject.target.image
    images = [subject.generate()]
    for seen, texts in ((target, subject.target.texts), (1 - target, list(reversed(subject.target.texts)))):
        if isinstance(decoder, GenerativeImageDecoder):
            decoder.loss(subject.narrative, subject.read(texts), seen)
        else:
            decoder.loss(images[0], seen)
        images.append(subject.generate())
    require(all(image.equal(images[0]) for image in images), "the generated image depends on a target, or is random")
    return None


@torch.no_grad()
def loss_is_least_at_target(harness: Harness) -> str | None:
    """Compare the loss of a prediction with that of the target itself."""
    subject = _subject(harness)
    decoder, target = subject.decoder, subject.target.image
    if isinstance(decoder, GenerativeImageDecoder):
        return "it generates no image in training"
    generated, perfect = (decoder.loss(image, target).item() for image in (subject.generate(), target))
    require(perfect <= generated, f"the loss of the target itself is {perfect:.4f}, of its image {generated:.4f}")
    return f"{perfect:.4f}, generated {generated:.4f}"


@torch.no_grad()
def loss_is_mean_over_stories(harness: Harness) -> str | None:
    """Compute the loss of a batch twice, and that of each story alone."""
    subject = _subject(harness)
    decoder, target = subject.decoder, subject.target
    if not isinstance(decoder, GenerativeImageDecoder):
        return NOT_GENERATIVE
    one, other = (decoder.loss(subject.narrative, subject.read(target.texts), target.image) for _ in range(2))
    require(
        one.equal(other),
        f"its loss in evaluation mode is random ({one:.6f}, then {other:.6f}); sample by random_generators",
    )
    alone = [
        decoder.loss(subject.story(row), subject.read([text]), target.image[row][None])
        for row, text in enumerate(target.texts)
    ]
    mean = torch.stack(alone).mean()
    require(near(one, mean), f"its loss of the batch is {one:.6f}, and the mean over its stories {mean:.6f}")
    return f"{one:.4f}"


@torch.no_grad()
def samples_from_seed(harness: Harness) -> str | None:
    """Generate twice by each of four seeds, after other random numbers of torch."""
    subject = _subject(harness)
    if not isinstance(subject.decoder, GenerativeImageDecoder):
        return NOT_GENERATIVE
    images = []
    for seed in SEEDS:
        images.append(subject.generate(seed=seed))
        torch.rand(7)
        require(
            images[-1].equal(subject.generate(seed=seed)),
            "the same seed generates another image; sample by vsr_cli.api.generation.random_generators",
        )
    require(not all(image.equal(images[0]) for image in images), "all seeds generate the same image")
    return None


@torch.no_grad()
def reads_any_text(harness: Harness) -> str | None:
    """Generate from empty, odd and long texts, and compare each image with that of its story alone."""
    subject = _subject(harness)
    if not isinstance(subject.decoder, GenerativeImageDecoder):
        return NOT_GENERATIVE
    texts = (UNUSUAL_TEXTS * len(subject.target.texts))[: len(subject.target.texts)]
    images = subject.generate(texts=texts)
    require(bool(images.isfinite().all()), "generated pixels that are not finite from an empty or unusual text")
    for row, text in enumerate(texts):
        alone = subject.generate(texts=[text], narrative=subject.story(row))[0]
        require(near(alone, images[row]), "the image of a story depends on the rest of the batch")
    return None


CHECKS: tuple[Check[Harness], ...] = (
    ("generates pixels within 0 and 1", generates_in_range),
    ("its image does not depend on a target", ignores_target),
    ("its loss is smallest at the target", loss_is_least_at_target),
    ("its loss is the mean over stories", loss_is_mean_over_stories),
    ("samples from its seed", samples_from_seed),
    ("reads any text", reads_any_text),
)
