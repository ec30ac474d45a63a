"""The model of a story: encoders, fusion, temporal model and decoders, wired in the one order they run in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
from ..config.schema import ObjectiveOptions
from ..errors import PluginError, VsrError
from ..plugin.kinds import KIND_OF
from ..plugin.shared_state import SharedState, shared_state
from .finite import narrated_not_finite
from .losses.alignment import Alignment
from .losses.next_frame import NextFrame
from .shapes import expect_pair, expect_shape, expect_texts
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
        names: Mapping[str, str] | None = None,
        watched: bool = False,
    ) -> None:
        """Wire the parts. `names` is what errors call them, by section.

        With `watched`, PluginError is raised where one changes what all of the program shares.
        """
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
        self.names = {
            section: f"{KIND_OF[section].title} {type(part).__qualname__} of {type(part).__module__}"
            for section, part in vars(parts).items()
        } | dict(names or {})
        self.watched = watched
        self.trace: list[dict[str, Tensor]] | None = None
        """What the parts before the decoders gave at each pass since it was emptied, by section; None: not recorded."""
        self._watch: SharedState | None = None

    def encode_context(self, context: Context) -> Narrative:
        """Read the contexts of a batch. Raises PluginError, naming the part, if one gives another shape than promised.

        The visual encoder's width is held to be the right one.
        """
        stories, frames = context.mask.shape  # (B, K)
        visual = self.visual(context.visual.flatten(0, 1))  # (B*K, D)
        width = visual.shape[-1] if isinstance(visual, Tensor) and visual.dim() else None
        self._gave("visual", "embeddings", visual, (stories * frames, width))
        text = self.text(context.text.flatten(0, 1), context.text_mask.flatten(0, 1))  # (B*K, D)
        self._gave("text", "embeddings", text, (stories * frames, width))
        visual, text = visual.reshape(stories, frames, -1), text.reshape(stories, frames, -1)  # (B, K, D)
        fused = self.fusion(visual, text)  # (B, K, D)
        self._gave("fusion", "joined embeddings", fused, (stories, frames, width))
        pair = self.temporal(fused, context.mask)
        what = "a pair of steps (B, K, D) and summary (B, D)"
        steps, summary = expect_pair(self.names["temporal"], what, pair)
        self._gave("temporal", "steps", steps, (stories, frames, width))
        self._gave("temporal", "a summary", summary, (stories, width))
        if self.trace is not None:
            given = {"visual": visual, "text": text, "fusion": fused, "temporal": summary}
            self.trace.append({section: tensor.detach() for section, tensor in given.items()})
        return Narrative(
            steps=steps,
            summary=summary,
            visual=visual,
            text=text,
            context=context,
            next=self._look_for_next(context, summary),
        )

    def forward(self, context: Context, target: Target) -> dict[str, Tensor]:
        """Return the losses by name, scalars: "loss", the weighted sum, and its terms as `ObjectiveOptions` names them.

        Those of `ONLY_IF_WEIGHED` are there only where they have a weight. Raises PluginError as `encode_context`,
        VsrError if the errors of an image without a gradient are to be learnt from.
        """
        with self._watching():
            narrative = self.encode_context(context)
            image = self.image_decoder(narrative)  # (B, 3, H, W)
            self._gave("image_decoder", "images", image, tuple(target.image.shape))
            text_loss = self.text_decoder.loss(narrative, target.ids, target.mask)
            self._gave("text_decoder", "a loss", text_loss, ())
            image_loss = self.image_decoder.loss(image, target.image)
            self._gave("image_decoder", "a loss", image_loss, ())
        terms = {
            "text": text_loss,
            "image": image_loss,
            **self._errors(image, target.image),
            "alignment": self.alignment(narrative.visual, narrative.text, context=context),
        }
        if self.next_frame is not None and narrative.next is not None:
            assert target.features is not None, "the objective next wants the targets' features"
            vectors = self._target_vectors(target.features)
            terms["next_frame"] = self.next_frame.loss(
                narrative.next, *vectors, story=context.story, target=target.features
            )
        weights = self.weights.model_dump()
        total = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
        return {"loss": total, **terms}

    @torch.no_grad()
    def predict(self, context: Context, decoding: Decoding) -> Prediction:
        """Write the fifth frames, free-running. There is no argument through which a target could be seen.

        Raises PluginError, naming the part, if one gives another shape than promised, or an image that is not finite.
        """
        stories = len(context.mask)
        with self._watching():
            narrative = self.encode_context(context)
            ids = self.text_decoder.generate(narrative, decoding)
            self._gave("text_decoder", "generated ids", ids, (stories, None))
            texts = expect_texts(self.names["text_decoder"], self.text_decoder.detokenize(ids), stories)
            drawn = self.image_decoder(narrative)
            self._gave("image_decoder", "images", drawn, (stories, *context.last_image.shape[1:]))
        images = drawn.float()
        if not images.isfinite().all():
            at_fault = narrated_not_finite(narrative) or "image_decoder"
            raise PluginError(
                f"{self.names[at_fault]}: gives numbers that are not finite, so no image can be made; train anew, or "
                "report it to its authors"
            )
        return Prediction(texts=texts, images=images.clamp(0, 1), next=narrative.next)

    @contextmanager
    def _watching(self) -> Iterator[None]:
        """Compare what the program shares before and after each part of the block, where that is wanted."""
        if not self.watched:
            yield
            return
        with shared_state("a part of the model") as self._watch:
            try:
                yield
            finally:
                self._watch = None

    def _gave(self, section: str, what: str, given: Tensor, wanted: tuple[int | None, ...]) -> None:
        """Raise PluginError if a part has given another shape, or has changed what the program shares meanwhile."""
        if self._watch is not None:
            self._watch.check(self.names[section])
        expect_shape(self.names[section], what, given, wanted)

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
