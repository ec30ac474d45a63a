"""From a configuration to a model, on a first build and when a run is read back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..api import BuildContext, HasAssets, TextObjective, Vocabulary
from ..api.text_loss import PLAIN
from ..config.experiment import TrainConfig
from ..config.resolve import Choice
from ..config.schema import DataOptions
from ..errors import PluginError, VsrError
from ..plugin.kinds import KIND_OF
from ..plugin.loading import build
from .losses.image_errors import build_image_errors
from .losses.next_frame import NextFrame
from .story_model import Parts, StoryModel
from .vectors import image_vectors, text_vectors

PROMISES: dict[str, tuple[str, ...]] = {
    "visual": ("cache_key", "pixels", "frozen", "forward"),
    "text": ("cache_key", "vocabulary", "tokenize", "frozen", "forward"),
    "fusion": ("forward",),
    "temporal": ("forward",),
    "text_decoder": ("tokenize", "detokenize", "loss", "generate"),
    "image_decoder": ("forward", "loss"),
}
"""What a built part must have; `vsr_cli.api.contracts` says what each is for."""


def build_part(
    section: str,
    choice: Choice,
    *,
    width: int,
    image_size: int,
    training_texts: Callable[[], Iterable[str]],
    vocabulary: Vocabulary | None = None,
    text_objective: TextObjective = PLAIN,
    assets: Path | None = None,
    steps: int = DataOptions.model_fields["context_frames"].default,
) -> Any:
    """Build one part of a model. Raises PluginError if it is not a module with its kind's methods."""
    context = BuildContext(
        width=width,
        steps=steps,
        image_size=image_size,
        training_texts=training_texts,
        vocabulary=vocabulary,
        text_objective=text_objective,
        assets=assets / section if assets else None,
    )
    part = build(choice.provided, choice.options, context)
    missing = [name for name in PROMISES[section] if not hasattr(part, name)]
    if not isinstance(part, nn.Module) or missing:
        lacks = f"lacks {', '.join(missing)}" if missing else "is not a torch.nn.Module"
        raise PluginError(f"{choice.provided.described}: what it builds {lacks}; report it to its authors")
    return part


def build_model(
    config: TrainConfig,
    *,
    image_size: int,
    training_texts: Callable[[], Iterable[str]] = tuple,
    assets: Path | None = None,
    steps: int = DataOptions.model_fields["context_frames"].default,
) -> StoryModel:
    """Build the model of a configuration. With `assets` (a run's) nothing is fetched and weights are to follow.

    Raises VsrError if a part cannot be built, or does without an objective that it needs or with one that it ignores.
    """
    text_objective = config.objective.text_objective
    options: dict[str, Any] = {
        "width": config.model.width,
        "image_size": image_size,
        "training_texts": training_texts,
        "text_objective": text_objective,
        "assets": assets,
        "steps": steps,
    }
    built: dict[str, Any] = {}
    for section, choice in config.parts.items():
        vocabulary = built["text"].vocabulary if "text" in built else None
        built[section] = build_part(section, choice, vocabulary=vocabulary, **options)
    asking = [section for section, part in built.items() if getattr(part, "needs_next", False)]
    if asking and not config.objective.next_frame:
        choice = config.parts[asking[0]]
        raise VsrError(
            f"{KIND_OF[asking[0]].title} '{choice.name}': chooses by the objective 'next_frame', which has no weight; "
            "add --set objective.next_frame=1"
        )
    if not text_objective.is_plain and getattr(built["text_decoder"], "objective", None) != text_objective:
        raise VsrError(
            f"text decoder '{config.parts['text_decoder'].name}': its loss takes neither objective.label_smoothing nor "
            f"objective.unlikelihood (given: {text_objective.label_smoothing} and {text_objective.unlikelihood}); set "
            "both to 0, or choose another, e.g. --text-decoder gru"
        )
    parts = Parts(**built)
    next_frame = _build_next_frame(parts, config, image_size, steps) if config.objective.next_frame else None
    image_errors = build_image_errors(config.objective, read_weights=assets is None)
    return StoryModel(
        parts,
        config.objective,
        image_errors=image_errors,
        next_frame=next_frame,
        names={section: choice.provided.described for section, choice in config.parts.items()},
        watched=not all(choice.provided.is_shipped for choice in config.parts.values()),  # those are checked
    )


@torch.no_grad()
def _build_next_frame(parts: Parts, config: TrainConfig, image_size: int, steps: int) -> NextFrame:
    """Build the objective `next_frame` for the spaces of these encoders, whose widths only they know."""
    tokens = parts.text.tokenize([""])
    ids, mask = torch.from_numpy(tokens.ids), torch.from_numpy(tokens.mask)
    grey = torch.full((1, 3, image_size, image_size), 128, dtype=torch.uint8)
    visual = image_vectors(parts.visual, parts.visual.frozen(parts.visual.pixels(grey)))  # (1, d)
    text = text_vectors(parts.text, parts.text.frozen(ids, mask), mask)  # (1, d)
    return NextFrame(visual=visual.shape[1], text=text.shape[1], width=config.model.width, steps=steps)


def save_assets(model: StoryModel, assets: Path) -> None:
    """Write what each part needs beside weights, into a folder of its own."""
    for section in PROMISES:
        part = getattr(model, section)
        folder = assets / section
        folder.mkdir(parents=True, exist_ok=True)
        if isinstance(part, HasAssets):
            part.save_assets(folder)
