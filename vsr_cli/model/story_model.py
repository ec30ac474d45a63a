"""The model of a story: encoders, fusion, temporal model and decoders, wired in the one order they run in."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..api import (
    Context,
    Decoding,
    Fusion,
    ImageDecoder,
    Narrative,
    NextQuery,
    Target,
    TargetFeatures,
    TemporalModel,
    TextDecoder,
    TextEncoder,
    VisualEncoder,
)
from ..errors import VsrError
from ..sections import ObjectiveOptions
from .alignment import Alignment
from .next_frame import NextFrame
from .shapes import expect_shape
from .vectors import image_vectors, text_vectors


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The six parts of a model, each a torch module that keeps its kind's promise."""

    visual: VisualEncoder
    text: TextEncoder
    fusion: Fusion
    temporal: TemporalModel
    text_decoder: TextDecoder
    image_decoder: ImageDecoder


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The fifth frames of a batch."""

    texts: list[str]
    images: Tensor
    """(B, 3, H, W) in [0, 1]."""
    next: NextQuery | None = None
    """What the model looks for among candidates, where it has learned to."""


class StoryModel(nn.Module):
    """Reads four frames and writes the fifth."""

    def __init__(
        self,
        parts: Parts,
        weights: ObjectiveOptions,
        *,
        image_errors: nn.ModuleDict | None = None,
        next_frame: NextFrame | None = None,
    ) -> None:
        super().__init__()
        self.visual = parts.visual
        self.text = parts.text
        self.fusion = parts.fusion
        self.temporal = parts.temporal
        self.text_decoder = parts.text_decoder
        self.image_decoder = parts.image_decoder
        self.image_errors = nn.ModuleDict() if image_errors is None else image_errors
        self.alignment = Alignment()
        self.next_frame = next_frame
        self.weights = weights

    def narrate(self, context: Context) -> Narrative:
        """Read the contexts of a batch. Raises VsrError, naming the part, if one gives another shape than it promises.

        The visual encoder's width is held to be the right one.
        """
        stories, frames = context.mask.shape  # (B, K)
        visual = self.visual(context.visual.flatten(0, 1))  # (B*K, D)
        width = visual.shape[-1]
        expect_shape("visual", self.visual, "embeddings", visual, (stories * frames, width))
        text = self.text(context.text.flatten(0, 1), context.text_mask.flatten(0, 1))  # (B*K, D)
        expect_shape("text", self.text, "embeddings", text, (stories * frames, width))
        visual, text = visual.reshape(stories, frames, -1), text.reshape(stories, frames, -1)  # (B, K, D)
        fused = self.fusion(visual, text)  # (B, K, D)
        expect_shape("fusion", self.fusion, "joined embeddings", fused, (stories, frames, width))
        steps, summary = self.temporal(fused, context.mask)  # (B, K, D), (B, D)
        expect_shape("temporal", self.temporal, "steps", steps, (stories, frames, width))
        expect_shape("temporal", self.temporal, "a summary", summary, (stories, width))
        return Narrative(
            steps=steps,
            summary=summary,
            visual=visual,
            text=text,
            context=context,
            next=self._look_for_next(context, summary),
        )

    def forward(self, context: Context, target: Target) -> dict[str, Tensor]:
        """Give the losses by name, scalars: "loss", the weighted sum, and its terms as `ObjectiveOptions` names them.

        Those of `ONLY_IF_WEIGHED` are there only where they have a weight. Raises VsrError as `narrate` does, and if
        the errors of an image without a gradient are to be learnt from.
        """
        narrative = self.narrate(context)
        image = self.image_decoder(narrative)  # (B, 3, H, W)
        expect_shape("image_decoder", self.image_decoder, "images", image, tuple(target.image.shape))
        terms = {
            "text": self.text_decoder.loss(narrative, target.ids, target.mask),
            "image": self.image_decoder.loss(image, target.image),
            **self._errors(image, target.image),
            "alignment": self.alignment(narrative.visual, narrative.text, context=context),
        }
        if self.next_frame is not None and narrative.next is not None:
            assert target.features is not None, "the objective next wants the targets' features"
            vectors = self._target_vectors(target.features)
            terms["next"] = self.next_frame.loss(narrative.next, *vectors, story=context.story, target=target.features)
        weights = self.weights.model_dump()
        total = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
        return {"loss": total, **terms}

    @torch.no_grad()
    def predict(self, context: Context, decoding: Decoding) -> Prediction:
        """Write the fifth frames, free-running. There is no argument through which a target could be seen."""
        narrative = self.narrate(context)
        ids = self.text_decoder.generate(narrative, decoding)  # (B, T)
        images = self.image_decoder(narrative).float().clamp(0, 1)  # (B, 3, H, W)
        return Prediction(texts=self.text_decoder.detokenize(ids), images=images, next=narrative.next)

    def _errors(self, image: Tensor, target: Tensor) -> dict[str, Tensor]:
        if self.image_errors and torch.is_grad_enabled() and not image.requires_grad:
            named = " and ".join(f"objective.{name}" for name in self.image_errors)
            raise VsrError(
                f"image decoder {type(self.image_decoder).__qualname__}: what it draws has no gradient, so nothing "
                f"could be learnt from {named}; leave that out, or choose another --image-decoder"
            )
        return {name: error(image, target) for name, error in self.image_errors.items()}

    def _look_for_next(self, context: Context, summary: Tensor) -> NextQuery | None:
        if self.next_frame is None:
            return None
        size = context.mask.shape  # (B, K)
        visual = image_vectors(self.visual, context.visual.flatten(0, 1))  # (B*K, d)
        text = text_vectors(self.text, context.text.flatten(0, 1), context.text_mask.flatten(0, 1))  # (B*K, d)
        asked: NextQuery = self.next_frame(
            visual.reshape(*size, -1), text.reshape(*size, -1), summary=summary, mask=context.mask
        )
        return asked

    def _target_vectors(self, target: TargetFeatures) -> tuple[Tensor, Tensor]:
        return (
            image_vectors(self.visual, target.visual),
            text_vectors(self.text, target.text, target.text_mask),
        )
