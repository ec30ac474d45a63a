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
    FrozenHalf,
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
from ..plugin.kinds import ENCODERS
from ..plugin.loading import build
from .frozen_store import FrozenStore, build_stored


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


def frozen_sample(visual: VisualEncoder, text: TextEncoder, *, image_size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return frozen features of one image (1, *F) and of an empty text (1, *F), and the text's mask (1, L).

    Their shapes are those of every image and text. They are zeros where the frozen half is not built.
    """
    visual_features = _features_of_sample(visual, "visual", image_size)
    text_features = _features_of_sample(text, "text", image_size)
    return visual_features, text_features, torch.from_numpy(text.tokenize([""]).mask)


@torch.no_grad()
def _features_of_sample(encoder: Any, section: str, image_size: int) -> Tensor:
    """Return the frozen features of one gray image or of an empty text, (1, *F)."""
    if (half := getattr(encoder, "pending", None)) is not None:
        return torch.zeros(1, *half.shape)
    features: Tensor
    if section == "visual":
        gray = torch.full((1, 3, image_size, image_size), 128, dtype=torch.uint8)
        features = encoder.frozen(encoder.pixels(gray))
    else:
        tokens = encoder.tokenize([""])
        features = encoder.frozen(torch.from_numpy(tokens.ids), torch.from_numpy(tokens.mask))
    return features


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
    half: FrozenHalf | None = None,
    store: FrozenStore | None = None,
) -> Any:
    """Build one part of a model. Raises PluginError if it is not a module with the attributes of its kind.

    An encoder of a run with `half` is built without it. At the first build, `store` does that with the cache.
    """
    seeded = section in ENCODERS and assets is None and choice.provided.component.frozen_source is not None
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
        seed=int(torch.randint(2**62, ())) if seeded else 0,
        frozen_half=half,
    )
    if store is not None and seeded:

        def shape_of(part: Any) -> tuple[int, ...]:
            return tuple(_features_of_sample(part, section, image_size).shape[1:])

        part = build_stored(section, choice, context, store=store, shape_of=shape_of)
    else:
        part = build(choice.provided, choice.options, context)
    missing = [name for name in PROMISES[section] if not hasattr(part, name)]
    if not isinstance(part, nn.Module) or missing:
        lacks = f"lacks {', '.join(missing)}" if missing else "is not a torch.nn.Module"
        raise PluginError(f"{choice.provided.described}: what it builds {lacks}; report it to its authors")
    return part
