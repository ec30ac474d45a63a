"""The six parts of a model: building one by its name, and what each must implement."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..api import (
    BuildContext,
    Fusion,
    GenerativeImageDecoder,
    ImageDecoder,
    TemporalModel,
    TextDecoder,
    TextEncoder,
    TextObjective,
    VisualEncoder,
    Vocabulary,
)
from ..api.text_loss import PLAIN
from ..config.resolve import Choice
from ..config.schema import DataOptions
from ..errors import PluginError
from ..plugin.loading import build


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The six parts of a model, each a torch module that implements the contract of its kind."""

    visual: VisualEncoder
    text: TextEncoder
    fusion: Fusion
    temporal: TemporalModel
    text_decoder: TextDecoder
    image_decoder: ImageDecoder | GenerativeImageDecoder


PROMISES: dict[str, tuple[str, ...]] = {
    "visual": ("cache_key", "pixels", "frozen", "forward"),
    "text": ("cache_key", "vocabulary", "tokenize", "frozen", "forward"),
    "fusion": ("forward",),
    "temporal": ("forward",),
    "text_decoder": ("tokenize", "detokenize", "loss", "generate"),
    "image_decoder": ("loss",),
}
"""The attributes of each part; `vsr_cli.api.contracts` documents them. An image decoder has `forward` or `generate`."""


@torch.no_grad()
def frozen_sample(visual: VisualEncoder, text: TextEncoder, *, image_size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the frozen features of one gray image (1, *F) and of an empty text (1, *F), and the text's mask (1, L).

    Their shapes are those of every image and text.
    """
    tokens = text.tokenize([""])
    ids, mask = torch.from_numpy(tokens.ids), torch.from_numpy(tokens.mask)
    gray = torch.full((1, 3, image_size, image_size), 128, dtype=torch.uint8)
    return visual.frozen(visual.pixels(gray)), text.frozen(ids, mask), mask


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
    visual_features: tuple[int, ...] | None = None,
    text_features: tuple[int, ...] | None = None,
) -> Any:
    """Build one part of a model. Raises PluginError if it is not a module with the attributes of its kind."""
    context = BuildContext(
        width=width,
        steps=steps,
        image_size=image_size,
        training_texts=training_texts,
        vocabulary=vocabulary,
        text_objective=text_objective,
        visual_features=visual_features,
        text_features=text_features,
        assets=assets / section if assets else None,
    )
    part = build(choice.provided, choice.options, context)
    missing = [name for name in PROMISES[section] if not hasattr(part, name)]
    if not isinstance(part, nn.Module) or missing:
        lacks = f"lacks {', '.join(missing)}" if missing else "is not a torch.nn.Module"
        raise PluginError(f"{choice.provided.described}: what it builds {lacks}; report it to its authors")
    return part
