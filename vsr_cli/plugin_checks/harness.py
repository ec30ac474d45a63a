"""A small model around the component under test, its input, and its training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..api import Context, FitsTraining, Target, TargetFeatures, TokenBatch, TrainingFrames
from ..config.experiment import TrainConfig, resolve_train
from ..config.resolve import Layer, parse_set, preset_layer
from ..config.schema import ModelOptions
from ..model.building import build_model
from ..model.embedding_spaces import image_vectors, text_vectors
from ..model.story_model import StoryModel
from ..model.weights import frozen_names
from ..plugin.registry import Registry
from .outcomes import require
from .stories import SmallStories, make_stories

PRESET = "tiny"
SMALL: dict[str, dict[str, Any]] = {
    "visual": {"size": 16},
    "text": {"channels": 16, "vocabulary_size": 400, "length": 24},
    "text_decoder": {"length": 16},
    "image_decoder": {"channels": 16},
}
"""The smallest options of the components of the preset."""
DECODERS = ("text_decoder", "image_decoder")
"""The components that may use the query for the next frame."""


@dataclass(frozen=True)
class Size:
    """Shapes to test a component with."""

    stories: int
    """B."""
    steps: int
    """K."""
    width: int
    """D."""
    image_size: int
    """H and W."""


SIZES = (Size(3, 4, 32, 32), Size(1, 2, 48, 64), Size(2, 5, 32, 32))
TRAINING_SIZE = Size(8, 4, 32, 32)
"""Eight stories to train on."""
STEPS = 25
RATES = (1e-2, 1e-3)
"""Learning rates, one of which must work."""
MAX_LOSS_RATIO = 0.9
"""Largest ratio of the loss after and before training."""
LOSS_OF = {"text_decoder": "text", "image_decoder": "image"}
"""The loss of a decoder. Other components train with the whole loss, together with decoders: untrained decoders would
give them no useful gradient."""


@dataclass(frozen=True)
class Harness:
    """A small model, by its configuration, with the component under test in one of its sections."""

    config: TrainConfig
    section: str
    registry: Registry

    @cached_property
    def training(self) -> Training:
        """The training of the component that several checks inspect."""
        return train(self, steps=STEPS, rate=RATES[0])

    @torch.enable_grad()  # a component may train in `fit`
    def build(self, size: Size = SIZES[0], *, assets: Path | None = None) -> StoryModel:
        """Build the model with the same random weights each time, or for weights that are loaded afterwards."""
        torch.manual_seed(0 if assets is None else 1)
        config = replace(self.config, model=ModelOptions(width=size.width))
        texts = [text for story in _stories(size).texts for text in story]
        model = build_model(
            config,
            image_size=size.image_size,
            training_texts=lambda: iter(texts if assets is None else ()),
            assets=assets,
            steps=size.steps,
        )
        model.eval()
        component = self.component(model)
        if assets is None and isinstance(component, FitsTraining):
            component.fit(_training_frames(model, size))
        return model

    def component(self, model: StoryModel) -> Any:
        """Return the component under test."""
        return getattr(model, self.section)


def make_harness(registry: Registry, section: str, name: str, assignments: Sequence[str]) -> Harness:
    """Configure the small model. Raises VsrError with all errors in the assignments."""
    layers = [
        preset_layer(PRESET),
        Layer("plugins check", SMALL | ({"objective": {"next_frame": 1}} if section in DECODERS else {})),
        Layer("the component", {section: {"name": name}}),
        *parse_set(assignments),
    ]
    return Harness(resolve_train(registry, preset=PRESET, layers=layers), section, registry)


def _stories(size: Size) -> SmallStories:
    return make_stories(size.stories, steps=size.steps, image_size=size.image_size)


def read(model: StoryModel, size: Size = SIZES[0]) -> tuple[Context, Target]:
    """Return the batch of the small stories, with the frozen features of the model's encoders."""
    stories = _stories(size)
    rows = stories.rows[:, :-1]  # (B, K)
    pixels = model.visual.pixels(stories.images)
    require(
        pixels.is_floating_point() and pixels.dim() == 4 and pixels.shape[:2] == stories.images.shape[:2],
        f"pixels returned {describe(pixels)} from {describe(stories.images)}, not (N, 3, h, w) float",
    )
    visual = model.visual.frozen(pixels)
    require(len(visual) == len(pixels), f"frozen returned {describe(visual)} from {describe(pixels)}, not (N, *F)")
    texts = [text for story in stories.texts for text in story[:-1]]
    ids, mask = tokens(model.text.tokenize(texts), len(texts))  # (B * K, L)
    features = model.text.frozen(ids, mask)
    require(len(features) == len(ids), f"frozen returned {describe(features)} from {describe(ids)}, not (N, *F)")
    grid = tuple(rows.shape)
    context = Context(
        visual=visual[rows],
        text=features.reshape(*grid, *features.shape[1:]),
        text_ids=ids.reshape(*grid, -1),
        text_mask=mask.reshape(*grid, -1),
        mask=stories.mask,
        last_image=stories.images[rows[:, -1]].float() / 255,
        story=torch.arange(size.stories),
        text_row=torch.arange(rows.numel()).reshape(grid),
        texts=[story[:-1] for story in stories.texts],
        images=lambda: stories.images[rows].float() / 255,
    )
    answers = [story[-1] for story in stories.texts]
    ids, mask = tokens(model.text_decoder.tokenize(answers), size.stories)
    longest = int(mask.sum(dim=1).max())  # as in training, without columns of padding
    return context, Target(
        ids=ids[:, :longest],
        mask=mask[:, :longest],
        image=stories.images[stories.rows[:, -1]].float() / 255,
        texts=answers,
        features=_target_features(model, visual[stories.rows[:, -1]], answers),
    )


def _target_features(model: StoryModel, visual: Tensor, answers: Sequence[str]) -> TargetFeatures:
    ids, mask = tokens(model.text.tokenize(answers), len(answers))
    rows = torch.arange(len(answers))
    return TargetFeatures(
        visual=visual,
        text=model.text.frozen(ids, mask),
        text_ids=ids,
        text_mask=mask,
        image_row=rows,
        text_row=rows,
        place=torch.full_like(rows, 4),
    )


@torch.no_grad()
def _training_frames(model: StoryModel, size: Size) -> TrainingFrames:
    """Return the frames of the small stories, as if their encoders were frozen."""
    stories = _stories(size)
    rows = stories.rows.flatten().numpy()  # (F,)
    images = stories.images.movedim(1, -1).numpy()
    texts = [text for story in stories.texts for text in story]
    ids, mask = tokens(model.text.tokenize(texts), len(texts))
    visual = image_vectors(model.visual, model.visual.frozen(model.visual.pixels(stories.images))).numpy()[rows]
    text = text_vectors(model.text, model.text.frozen(ids, mask), mask).numpy()
    return TrainingFrames(
        texts=texts,
        images=lambda places: images[rows[list(places)]],
        visual=lambda: visual,
        text=lambda: text,
        visual_trains=False,
        text_trains=False,
        story=np.repeat(np.arange(len(stories.rows)), stories.rows.shape[1]),
    )


def tokens(batch: TokenBatch, count: int) -> tuple[Tensor, Tensor]:
    """Return ids and mask (N, L) of tokenized texts as tensors. Raises ContractError if they are malformed."""
    ids, mask = torch.from_numpy(batch.ids), torch.from_numpy(batch.mask)
    fits = ids.dtype == torch.int64 and mask.dtype == torch.bool and ids.shape == mask.shape and ids.dim() == 2
    wanted = f"not (N, L) int64 and (N, L) bool with N = {count}"
    require(fits and len(ids) == count, f"tokenize returned ids {describe(ids)} and mask {describe(mask)}, {wanted}")
    require(bool(mask.any(dim=1).all()), "tokenize returned a text without a real token; it has at least eos")
    require(bool((mask[:, :-1] >= mask[:, 1:]).all()), "tokenize returned padding that is not on the right")
    return ids, mask


def describe(tensor: Tensor) -> str:
    """Return the shape and type of a tensor as text."""
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def near(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal up to rounding, which may depend on the batch size."""
    return torch.allclose(one, other, rtol=1e-3, atol=1e-4)


@dataclass(frozen=True, kw_only=True)
class Training:
    """The result of training a decoder, or another component together with both decoders, on eight stories."""

    model: StoryModel
    steps: int
    rate: float
    trained: int
    """Trained parameters of the component."""
    unreached: list[str]
    """Trained parameters whose gradient was 0 at every step."""
    moved: list[str]
    """Frozen tensors of the component that changed."""
    before: float
    """The loss in evaluation mode."""
    after: float


def train(harness: Harness, *, steps: int, rate: float) -> Training:
    """Train for some steps on one batch."""
    model = harness.build(TRAINING_SIZE)
    component = harness.component(model)
    context, target = read(model, TRAINING_SIZE)
    trained = {name: weight for name, weight in component.named_parameters() if weight.requires_grad}
    frozen = frozen_names(component)
    kept = {name: value.clone() for name, value in component.state_dict().items() if name in frozen}
    trainees = [component] if harness.section in LOSS_OF else [component, model.text_decoder, model.image_decoder]
    learning = [weight for trainee in trainees for weight in trainee.parameters() if weight.requires_grad]
    model.requires_grad_(False)
    for weight in learning:
        weight.requires_grad_(True)
    before = loss_of(harness, model, context, target).item()
    optimizer = torch.optim.Adam(learning, lr=rate) if learning else None
    reached: set[str] = set()
    model.train()
    for _ in range(steps if optimizer else 0):
        model.zero_grad()
        loss_of(harness, model, context, target).backward()  # type: ignore[no-untyped-call]
        reached |= {name for name, weight in trained.items() if weight.grad is not None and weight.grad.any()}
        if optimizer:
            optimizer.step()
    model.eval()
    return Training(
        model=model,
        steps=steps,
        rate=rate,
        trained=sum(map(torch.numel, trained.values())),
        unreached=sorted(trained.keys() - reached),
        moved=[name for name, value in kept.items() if not component.state_dict()[name].equal(value)],
        before=before,
        after=loss_of(harness, model, context, target).item(),
    )


def loss_of(harness: Harness, model: StoryModel, context: Context, target: Target) -> Tensor:
    """Return the loss of the component, a scalar; the whole loss for a decoder of which nothing trains."""
    losses: dict[str, Tensor] = model(context, target)
    return losses.get(LOSS_OF.get(harness.section, "loss"), losses["loss"])
