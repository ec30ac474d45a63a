"""The graphs that a model is exported as: what each reads and returns, as a module over tensors alone.

Shapes: B stories, K context frames, N images or texts, D width, L tokens of a text, V vocabulary, S side of an image.

image.onnx    images (N, 3, S, S) uint8                         -> image_embedding (N, D)
text.onnx     ids (N, L) int64, mask (N, L) bool                -> text_embedding (N, D)
story.onnx    image_embeddings, text_embeddings (B, K, D), ...  -> next_image (B, 3, S, S), the decoder's state
step.onnx     token (B,), the decoder's state                   -> scores (B, V), the state after it
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from ..api import (
    Context,
    GenerativeImageDecoder,
    HasGraphForm,
    ImageDecoder,
    Narrative,
    TextEncoder,
    VisualEncoder,
    WritesByStep,
)
from ..errors import VsrError
from ..model.story_model import StoryModel

OTHERS = "'vsr plugins list' lists others; those of the presets reference and tiny can be exported"
IMAGE, TEXT = "image_embedding", "text_embedding"
FROM_CONTEXT = {"mask": "frame_mask", "text_ids": "text_ids", "text_mask": "text_mask"}
"""What of a context a graph can read, and the name of its input."""


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A module to export: the names of its inputs and outputs, and example inputs that it is exported and checked with.

    The first dimension of every input and output is free.
    """

    name: str
    module: nn.Module
    parts: Sequence[str]
    """The sections of the components in it."""
    inputs: Mapping[str, Tensor]
    outputs: Sequence[str]

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{self.name}.onnx"


class ImageGraph(nn.Module):
    """The visual encoder with its preprocessing."""

    def __init__(self, encoder: VisualEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor) -> Tensor:
        """Return embeddings (N, D) of images (N, 3, S, S) uint8."""
        return self.encoder(self.encoder.frozen(self.encoder.pixels(images))).float()


class TextGraph(nn.Module):
    """The text encoder without its tokenizer."""

    def __init__(self, encoder: TextEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return embeddings (N, D) of tokens and mask (N, L)."""
        if isinstance(self.encoder, HasGraphForm):
            return self.encoder.graph_form(ids, mask).float()
        return self.encoder(self.encoder.frozen(ids, mask), mask).float()


class ReadContext:
    """Stands for a context of which a graph can read some tensors; records which are read."""

    def __init__(self, **tensors: Tensor) -> None:
        self._tensors = tensors
        self.read: list[str] = []

    def __getattr__(self, name: str) -> Tensor:
        if name.startswith("_") or name not in self._tensors:
            raise VsrError(f"reads the context's {name}, which no graph has as an input")
        if name not in self.read:
            self.read.append(name)
        return self._tensors[name]


class StoryGraph(nn.Module):
    """Fusion, temporal model and image decoder, and the text decoder up to its first token."""

    def __init__(self, model: StoryModel, read: Sequence[str]) -> None:
        """`read` names what of the context is among the inputs, in order."""
        super().__init__()
        self.model, self.read = model, tuple(read)

    def forward(self, image_embeddings: Tensor, text_embeddings: Tensor, *context: Tensor) -> tuple[Tensor, ...]:
        """Return the next image (B, 3, S, S) in [0, 1], and the states of the text decoder."""
        narrative = narrate(
            self.model, image_embeddings, text_embeddings, ReadContext(**dict(zip(self.read, context, strict=True)))
        )
        decoder = cast(WritesByStep, self.model.text_decoder)
        state, fixed = decoder.begin(narrative)
        image = cast(ImageDecoder, self.model.image_decoder)(narrative).float().clamp(0, 1)
        return (image, *state, *fixed)


class StepGraph(nn.Module):
    """One step of the text decoder."""

    def __init__(self, decoder: WritesByStep, *, states: int) -> None:
        """The first `states` of the tensors change at each step, the others are fixed."""
        super().__init__()
        self.decoder, self.states = decoder, states

    def forward(self, token: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return the scores (B, V) of the tokens after `token` (B,), and the new states."""
        scores, state = self.decoder.step(token, tensors[: self.states], tensors[self.states :])
        return (scores.float(), *state)


def narrate(model: StoryModel, visual: Tensor, text: Tensor, context: ReadContext) -> Narrative:
    """Return the narrative of embeddings (B, K, D), as `StoryModel.encode_context` does."""
    fused = model.fusion(visual, text)
    steps, summary = model.temporal(fused, context.mask)
    return Narrative(steps=steps, summary=summary, visual=visual, text=text, context=cast(Context, context))


@torch.no_grad()
def graphs_of(
    model: StoryModel, *, names: Mapping[str, str], steps: int, image_size: int, texts: Sequence[str]
) -> list[Graph]:
    """Return the four graphs of a model on the CPU, with examples of B = 2 stories whose texts are `texts` (2 * K).

    `names` are the components' names in errors, by section. Raises VsrError if a component cannot be exported.
    """
    generator = torch.Generator().manual_seed(0)
    stories = len(texts) // steps
    images = torch.randint(0, 256, (len(texts), 3, image_size, image_size), generator=generator, dtype=torch.uint8)
    tokens = model.text.tokenize(texts)
    ids, mask = torch.from_numpy(tokens.ids), torch.from_numpy(tokens.mask)
    decoder = model.text_decoder
    if not isinstance(decoder, WritesByStep):
        raise VsrError(f"{names['text_decoder']}: does not generate step by step from a state; {OTHERS}")
    if isinstance(model.image_decoder, GenerativeImageDecoder):
        raise VsrError(f"{names['image_decoder']}: samples its image from the text and a seed; {OTHERS}")
    with naming(names["visual"]):
        image_graph = ImageGraph(model.visual)
        visual = image_graph(images).reshape(stories, steps, -1)  # (B, K, D)
    with naming(names["text"]):
        text_graph = TextGraph(model.text)
        text = text_graph(ids, mask).reshape(stories, steps, -1)
    frame_mask = torch.ones(stories, steps, dtype=torch.bool)
    frame_mask[-1, steps // 2 :] = False
    of_context = {
        "mask": frame_mask,
        "text_ids": ids.reshape(stories, steps, -1),
        "text_mask": mask.reshape(stories, steps, -1),
    }
    context = ReadContext(**of_context)
    with naming(names["temporal"]):
        narrative = narrate(model, visual, text, context)
    with naming(names["text_decoder"]):
        state, fixed = decoder.begin(narrative)
    with naming(names["image_decoder"]):
        model.image_decoder(narrative)
    read = [name for name in of_context if name in context.read]
    state_names = [f"state_{number}" for number in range(len(state))]
    fixed_names = [f"fixed_{number}" for number in range(len(fixed))]
    return [
        Graph(name="image", module=image_graph, parts=["visual"], inputs={"images": images}, outputs=[IMAGE]),
        Graph(name="text", module=text_graph, parts=["text"], inputs={"ids": ids, "mask": mask}, outputs=[TEXT]),
        Graph(
            name="story",
            module=StoryGraph(model, read),
            parts=["fusion", "temporal", "image_decoder", "text_decoder"],
            inputs={
                "image_embeddings": visual,
                "text_embeddings": text,
                **{FROM_CONTEXT[name]: of_context[name] for name in read},
            },
            outputs=["next_image", *state_names, *fixed_names],
        ),
        Graph(
            name="step",
            module=StepGraph(decoder, states=len(state)),
            parts=["text_decoder"],
            inputs={
                "token": torch.tensor([decoder.vocabulary.bos, decoder.vocabulary.eos])[:stories],
                **dict(zip([*state_names, *fixed_names], [*state, *fixed], strict=True)),
            },
            outputs=["scores", *(f"next_{name}" for name in state_names)],
        ),
    ]


@contextmanager
def naming(*names: str) -> Iterator[None]:
    """Begin a VsrError of the block with the components that it may be about."""
    try:
        yield
    except VsrError as error:
        raise VsrError(f"{', '.join(names)}: cannot be exported: {error}; {OTHERS}") from error
