"""The story model: encoders, fusion, temporal model and decoders in the order in which they run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..api import (
    Context,
    Decoding,
    GeneratesSamples,
    GenerativeImageDecoder,
    Narrative,
    NextQuery,
    NextText,
    Target,
)
from ..api.decoding import sample_decodings
from ..config.schema import ObjectiveOptions
from ..errors import PluginError
from ..plugin.kinds import KIND_OF
from ..plugin.shared_state import SharedState, shared_state
from .embedding_spaces import EmbeddingSpaces
from .find_nonfinite import narrated_not_finite
from .losses.next_frame import NextFrame
from .losses.term import ForwardPass, Gather, LossTerm
from .mbr import select_texts
from .parts import Parts
from .shapes import expect_pair, expect_shape, expect_texts

TEXTS_TOGETHER = 1024
"""Samples of all stories that a decoder generates at once, so that memory does not grow with their number."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The predicted frames of a batch."""

    texts: list[str]
    images: Tensor
    """(B, 3, H, W) in [0, 1]."""
    next: NextQuery | None = None
    """The query for the next frame among candidates, of a model trained with `objective.next_frame`."""


class StoryModel(nn.Module):
    """Predicts the next frame of a story from the frames before it."""

    def __init__(
        self,
        parts: Parts,
        objective: ObjectiveOptions,
        terms: Mapping[str, LossTerm],
        *,
        names: Mapping[str, str] | None = None,
        watched: bool = False,
    ) -> None:
        """Connect the parts. `terms` are the loss terms by name; `names` are the parts' names in errors, by section.

        With `watched`, PluginError is raised where a part changes global state, such as torch's default type.
        """
        super().__init__()
        self.parts = parts
        self.visual = parts.visual
        self.text = parts.text
        self.fusion = parts.fusion
        self.temporal = parts.temporal
        self.text_decoder = parts.text_decoder
        self.image_decoder = parts.image_decoder
        self.terms: Mapping[str, LossTerm] = nn.ModuleDict(terms)  # type: ignore[assignment]
        self.objective: ObjectiveOptions = objective
        self.names = {
            section: f"{KIND_OF[section].title} {type(part).__qualname__} of {type(part).__module__}"
            for section, part in vars(parts).items()
        } | dict(names or {})
        self.watched = watched
        self.trace: list[dict[str, Tensor]] | None = None
        """The outputs of the parts before the decoders, by section, one entry per forward pass; None: not recorded."""
        self._watch: SharedState | None = None

    @property
    def next_frame(self) -> NextFrame | None:
        """The term that has learned to choose the next frame among candidates, if the model has it."""
        return next((term for term in self.terms.values() if isinstance(term, NextFrame)), None)

    @property
    def cautions(self) -> list[str]:
        """What a user should know about the decoders: that one generates nothing new."""
        decoders = (self.text_decoder, self.image_decoder)
        return [decoder.caution for decoder in decoders if hasattr(decoder, "caution")]

    def encode_context(self, context: Context) -> Narrative:
        """Encode the contexts of a batch. Raises PluginError, naming the part, if one returns another shape than D.

        D is the width of the visual encoder's embeddings.
        """
        stories, frames = context.mask.shape  # (B, K)
        visual = self.visual(context.visual.flatten(0, 1))  # (B*K, D)
        width = visual.shape[-1] if isinstance(visual, Tensor) and visual.dim() else None
        self._check("visual", "embeddings", visual, (stories * frames, width))
        text = self.text(context.text.flatten(0, 1), context.text_mask.flatten(0, 1))  # (B*K, D)
        self._check("text", "embeddings", text, (stories * frames, width))
        visual, text = visual.reshape(stories, frames, -1), text.reshape(stories, frames, -1)  # (B, K, D)
        fused = self.fusion(visual, text)  # (B, K, D)
        self._check("fusion", "joined embeddings", fused, (stories, frames, width))
        pair = self.temporal(fused, context.mask)
        what = "a pair of steps (B, K, D) and summary (B, D)"
        steps, summary = expect_pair(self.names["temporal"], what, pair)
        self._check("temporal", "steps", steps, (stories, frames, width))
        self._check("temporal", "a summary", summary, (stories, width))
        if self.trace is not None:
            outputs = {"visual": visual, "text": text, "fusion": fused, "temporal": summary}
            self.trace.append({section: tensor.detach() for section, tensor in outputs.items()})
        next_query = None if self.next_frame is None else self.next_frame.query(self.parts, context, summary)
        return Narrative(steps=steps, summary=summary, visual=visual, text=text, context=context, next=next_query)

    def forward(self, context: Context, target: Target, gather: Gather = lambda rows: rows) -> dict[str, Tensor]:
        """Return the losses of a training batch. accelerate's mixed precision applies to this method alone."""
        return self.losses(context, target, gather)

    def losses(self, context: Context, target: Target, gather: Gather = lambda rows: rows) -> dict[str, Tensor]:
        """Return the losses by name, scalars: "loss", the weighted sum, and each of `terms`.

        `gather` concatenates the rows of all processes for contrastive terms. Raises PluginError as `encode_context`,
        VsrError if a term is to be learned from images that have no gradient.
        """
        with self._watching():
            narrative = self.encode_context(context)
            outputs = ForwardPass(
                parts=self.parts,
                context=context,
                target=target,
                narrative=narrative,
                generate_image=lambda: self._image(narrative),
                gather=gather,
            )
            losses: dict[str, Tensor] = {}
            for name, term in self.terms.items():
                losses[name] = term(outputs)
                if term.computed_by:
                    self._check(term.computed_by, "a loss", losses[name], ())
        weights = self.objective.weights
        total = torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()
        return {"loss": total, **losses}

    @torch.no_grad()
    def predict(self, context: Context, decoding: Decoding) -> Prediction:
        """Predict the next frames, free-running. There is no argument through which a target could be seen.

        The text is generated first; a generative image decoder reads it. Raises PluginError, naming the part, if one
        returns another shape, or an image that is not finite.
        """
        return self.predict_alternatives(context, [decoding])[0]

    @torch.no_grad()
    def predict_alternatives(self, context: Context, decodings: Sequence[Decoding]) -> list[Prediction]:
        """Return what `predict` returns for each decoding. They differ in their seeds alone, and share work."""
        with self._watching():
            narrative = self.encode_context(context)
            texts = self._texts(narrative, decodings[0])
            predictions = [self._draw(narrative, texts, seed=decodings[0].seed)]
            for decoding in decodings[1:]:
                texts = self._texts(narrative, decoding) if decoding.is_random else texts
                predictions.append(self._draw(narrative, texts, seed=decoding.seed))
        return predictions

    @torch.no_grad()
    def draw(self, context: Context, texts: Sequence[str], *, seed: int) -> Tensor:
        """Return images (B, 3, H, W) in [0, 1] of the next frames with texts (B,) that someone else wrote.

        The image decoder is a generative one. Raises PluginError as `predict` does.
        """
        assert self.reads_text
        with self._watching():
            return self._draw(self.encode_context(context), list(texts), seed=seed).images

    @property
    def models_text(self) -> bool:
        """Whether the text decoder writes texts of its own, and so can sample them."""
        return getattr(self.text_decoder, "models_text", True)

    @property
    def reads_text(self) -> bool:
        """Whether the image decoder reads the text of the frame that it generates an image for."""
        return isinstance(self.image_decoder, GenerativeImageDecoder)

    def can_vary(self, decoding: Decoding) -> bool:
        """Return whether predictions depend on the seed of a decoding."""
        return (decoding.is_random and self.models_text) or self.reads_text

    def _draw(self, narrative: Narrative, texts: list[str], *, seed: int) -> Prediction:
        images = self._image(narrative, texts, seed=seed).float()
        if not images.isfinite().all():
            at_fault = narrated_not_finite(narrative) or "image_decoder"
            raise PluginError(
                f"{self.names[at_fault]}: returns numbers that are not finite, so no image can be generated; "
                "train again, or report it to its authors"
            )
        return Prediction(texts=texts, images=images.clamp(0, 1), next=narrative.next)

    def read_text(self, texts: Sequence[str], device: torch.device) -> NextText:
        """Return texts (B,) as the image decoder reads them: with tokens and frozen features of the text encoder."""
        tokens = self.text.tokenize(texts)
        ids, mask = torch.from_numpy(tokens.ids).to(device), torch.from_numpy(tokens.mask).to(device)  # (B, L)
        return NextText(texts=texts, ids=ids, mask=mask, features=self.text.frozen(ids, mask))

    def _image(self, narrative: Narrative, texts: Sequence[str] = (), *, seed: int = 0) -> Tensor:
        """Return the images (B, 3, H, W) that the image decoder generates; only a generative one reads the texts."""
        decoder, last_image = self.image_decoder, narrative.context.last_image
        if isinstance(decoder, GenerativeImageDecoder):
            image = decoder.generate(narrative, self.read_text(texts, last_image.device), seed)
        else:
            image = decoder(narrative)
        self._check("image_decoder", "images", image, tuple(last_image.shape))
        return image

    def _texts(self, narrative: Narrative, decoding: Decoding) -> list[str]:
        """Return B generated texts: by minimum Bayes risk decoding, those that are selected from samples."""
        if decoding.method != "mbr":
            return self._detokenized(self._generated(narrative, decoding))
        empty = self.text_decoder.tokenize([""])
        eos = int(empty.ids[empty.mask][-1])  # a decoder may begin every text with tokens of its own
        samples = [
            list(zip(self._detokenized(ids), (ids == eos).any(dim=1).tolist(), strict=True))
            for ids in self._samples(narrative, sample_decodings(decoding))
        ]  # S lists of B texts, each with whether it has ended
        embed = EmbeddingSpaces(self, narrative.summary.device).written
        stories = list(zip(*samples, strict=True))
        return select_texts(stories, self._context_texts(narrative), decoding, embed=embed)

    def _samples(self, narrative: Narrative, decodings: Sequence[Decoding]) -> Iterator[Tensor]:
        """Yield ids (B, T) for each decoding, generated together where the decoder can, up to `TEXTS_TOGETHER`."""
        decoder = self.text_decoder
        if not isinstance(decoder, GeneratesSamples):
            yield from (self._generated(narrative, each) for each in decodings)
            return
        together = max(1, TEXTS_TOGETHER // len(narrative.summary))
        for start in range(0, len(decodings), together):
            part = decodings[start : start + together]
            ids = decoder.generate_samples(narrative, part)  # (B, S, T)
            self._check("text_decoder", "generated samples", ids, (len(narrative.summary), len(part), None))
            yield from ids.unbind(1)

    def _generated(self, narrative: Narrative, decoding: Decoding) -> Tensor:
        ids = self.text_decoder.generate(narrative, decoding)
        self._check("text_decoder", "generated ids", ids, (len(narrative.summary), None))
        return ids

    def _detokenized(self, ids: Tensor) -> list[str]:
        return expect_texts(self.names["text_decoder"], self.text_decoder.detokenize(ids), len(ids))

    def _context_texts(self, narrative: Narrative) -> list[list[str]]:
        """Return the texts of the real frames of each context as the decoder would generate them: in its vocabulary."""
        context = narrative.context
        texts = [
            [text for text, real in zip(*frames, strict=True) if real]
            for frames in zip(context.texts, context.mask.tolist(), strict=True)
        ]
        distinct = list(dict.fromkeys(text for story in texts for text in story))
        ids = torch.from_numpy(self.text_decoder.tokenize(distinct).ids).to(narrative.summary.device)
        generated = dict(zip(distinct, self._detokenized(ids), strict=True))
        return [[generated[text] for text in story] for story in texts]

    @contextmanager
    def _watching(self) -> Iterator[None]:
        """Check after each part of the block that it has not changed global state, if the model is watched."""
        if not self.watched:
            yield
            return
        with shared_state("a part of the model") as self._watch:
            try:
                yield
            finally:
                self._watch = None

    def _check(self, section: str, what: str, output: Tensor, shape: tuple[int | None, ...]) -> None:
        """Raise PluginError if a part has returned another shape, or has changed global state."""
        if self._watch is not None:
            self._watch.check(self.names[section])
        expect_shape(self.names[section], what, output, shape)
