"""A tiny model around the part that is checked, and what it reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from ..model.story_model import StoryModel
from ..model.vectors import image_vectors, text_vectors
from ..plugin.registry import Registry
from .outcomes import demand
from .stories import TinyStories, tell_stories

PRESET = "tiny"
SMALL: dict[str, dict[str, Any]] = {
    "visual": {"size": 16},
    "text": {"channels": 16, "vocabulary_size": 400, "length": 24},
    "text_decoder": {"length": 16},
    "image_decoder": {"channels": 16},
}
"""Options of the preset's parts: as small as they get."""
DECODERS = ("text_decoder", "image_decoder")
"""The parts that may ask which frame is looked for next."""


@dataclass(frozen=True)
class Size:
    """The shapes that a part is built and used for."""

    stories: int
    """B."""
    steps: int
    """K."""
    width: int
    """D."""
    image_size: int
    """H and W."""


SIZES = (Size(3, 4, 32, 32), Size(1, 2, 48, 64), Size(2, 5, 32, 32))


@dataclass(frozen=True)
class Bench:
    """The configuration of a tiny model that holds the part in one of its sections."""

    config: TrainConfig
    section: str
    registry: Registry

    @torch.enable_grad()  # a part may learn something from the training frames
    def build(self, size: Size = SIZES[0], *, assets: Path | None = None) -> StoryModel:
        """Build the model, always with the same random weights, or to be filled with those that were saved."""
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
        part = self.part(model)
        if assets is None and isinstance(part, FitsTraining):
            part.fit(_training_frames(model, size))
        return model

    def part(self, model: StoryModel) -> Any:
        """Return the part of a model that is checked."""
        return getattr(model, self.section)


def open_bench(registry: Registry, section: str, name: str, assignments: Sequence[str]) -> Bench:
    """Configure the tiny model. Raises VsrError with all mistakes in the assignments."""
    layers = [
        preset_layer(PRESET),
        Layer("the checks", SMALL | ({"objective": {"next_frame": 1}} if section in DECODERS else {})),
        Layer("the component", {section: {"name": name}}),
        *parse_set(assignments),
    ]
    return Bench(resolve_train(registry, preset=PRESET, layers=layers), section, registry)


def _stories(size: Size) -> TinyStories:
    return tell_stories(size.stories, steps=size.steps, image_size=size.image_size)


def read(model: StoryModel, size: Size = SIZES[0]) -> tuple[Context, Target]:
    """Make the batch of the tiny stories, through the frozen halves of the model's encoders."""
    stories = _stories(size)
    rows = stories.rows[:, :-1]  # (B, K)
    pixels = model.visual.pixels(stories.pictures)
    demand(
        pixels.is_floating_point() and pixels.dim() == 4 and pixels.shape[:2] == stories.pictures.shape[:2],
        f"pixels gave {told(pixels)} from {told(stories.pictures)}; it gives (N, 3, h, w) float",
    )
    visual = model.visual.frozen(pixels)
    demand(len(visual) == len(pixels), f"frozen gave {told(visual)} from {told(pixels)}; it gives (N, *F)")
    texts = [text for story in stories.texts for text in story[:-1]]
    ids, mask = tokens(model.text.tokenize(texts), len(texts))  # (B * K, L)
    features = model.text.frozen(ids, mask)
    demand(len(features) == len(ids), f"frozen gave {told(features)} from {told(ids)}; it gives (N, *F)")
    grid = tuple(rows.shape)
    context = Context(
        visual=visual[rows],
        text=features.reshape(*grid, *features.shape[1:]),
        text_ids=ids.reshape(*grid, -1),
        text_mask=mask.reshape(*grid, -1),
        mask=stories.mask,
        last_image=stories.pictures[rows[:, -1]].float() / 255,
        story=torch.arange(size.stories),
        text_row=torch.arange(rows.numel()).reshape(grid),
    )
    answers = [story[-1] for story in stories.texts]
    ids, mask = tokens(model.text_decoder.tokenize(answers), size.stories)
    longest = int(mask.sum(dim=1).max())  # as in training, columns that are all padding are cut
    return context, Target(
        ids=ids[:, :longest],
        mask=mask[:, :longest],
        image=stories.pictures[stories.rows[:, -1]].float() / 255,
        features=_target_features(model, visual[stories.rows[:, -1]], answers) if model.next_frame else None,
    )


def _target_features(model: StoryModel, visual: Tensor, answers: Sequence[str]) -> TargetFeatures:
    ids, mask = tokens(model.text.tokenize(answers), len(answers))
    rows = torch.arange(len(answers))
    return TargetFeatures(
        visual=visual,
        text=model.text.frozen(ids, mask),
        text_mask=mask,
        image_row=rows,
        text_row=rows,
        place=torch.full_like(rows, 4),
    )


@torch.no_grad()
def _training_frames(model: StoryModel, size: Size) -> TrainingFrames:
    """Return the frames of the tiny stories. Their encoders are taken not to train, so that what looks up can."""
    stories = _stories(size)
    rows = stories.rows.flatten().numpy()  # (F,)
    pictures = stories.pictures.movedim(1, -1).numpy()
    texts = [text for story in stories.texts for text in story]
    ids, mask = tokens(model.text.tokenize(texts), len(texts))
    visual = image_vectors(model.visual, model.visual.frozen(model.visual.pixels(stories.pictures))).numpy()[rows]
    text = text_vectors(model.text, model.text.frozen(ids, mask), mask).numpy()
    return TrainingFrames(
        texts=texts,
        images=lambda places: pictures[rows[list(places)]],
        visual=lambda: visual,
        text=lambda: text,
        visual_trains=False,
        text_trains=False,
        story=np.repeat(np.arange(len(stories.rows)), stories.rows.shape[1]),
    )


def tokens(batch: TokenBatch, count: int) -> tuple[Tensor, Tensor]:
    """Return ids and mask (N, L) of tokenized texts as tensors. Raises BrokenPromiseError if they are none."""
    ids, mask = torch.from_numpy(batch.ids), torch.from_numpy(batch.mask)
    fits = ids.dtype == torch.int64 and mask.dtype == torch.bool and ids.shape == mask.shape and ids.dim() == 2
    wanted = f"it gives ids (N, L) int64 and mask (N, L) bool, N = {count}"
    demand(fits and len(ids) == count, f"tokenize gave ids {told(ids)} and mask {told(mask)}; {wanted}")
    demand(bool(mask.any(dim=1).all()), "tokenize gave a text without a real token; there is at least the last one")
    demand(bool((mask[:, :-1] >= mask[:, 1:]).all()), "tokenize gave padding that is not on the right")
    return ids, mask


def told(tensor: Tensor) -> str:
    """Say a tensor's shape and type."""
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def near(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal but for the order of sums, which a batch's size may change."""
    return torch.allclose(one, other, rtol=1e-3, atol=1e-4)
