"""The contracts of the components of a model, and the values that they exchange.

Shapes: B stories, K context frames, N = B*K, D shared width, L tokens of a context text, T tokens of a target text,
V vocabulary, H W pixels, *F frozen features of an encoder. Every component is a `torch.nn.Module`, built by
`build(options, context: BuildContext)`. There are no base classes: components fit by their shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from .decoding import Decoding
from .frozen_half import FrozenHalf
from .text_objective import TextObjective
from .vocabulary import TokenBatch, Vocabulary

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class BuildContext:
    """What a component is built from, beside its options."""

    width: int
    """D, the width shared by all components."""
    steps: int
    """K, the number of context frames."""
    image_size: int
    """H = W of prepared images and of the predicted one, in pixels."""
    training_texts: Callable[[], Iterable[str]]
    """Returns the texts of the training split, for a text encoder that learns its vocabulary."""
    vocabulary: Vocabulary | None = None
    """The text encoder's vocabulary. None only while the encoders themselves are built."""
    visual_features: tuple[int, ...] | None = None
    """The shape *F of the visual encoder's frozen features of one image. None while the encoders are built."""
    text_features: tuple[int, ...] | None = None
    """The shape *F of the text encoder's frozen features of one text, likewise."""
    text_objective: TextObjective = field(default_factory=TextObjective)
    """Terms of the text loss in training. A decoder that supports them stores this as its attribute `objective`."""
    assets: Path | None = None
    """The folder that `save_assets` wrote, when a run is loaded: then download nothing. None at the first build."""
    seed: int = 0
    """Seeds the random numbers of a frozen half, which no other part of the model may depend on."""
    frozen_half: FrozenHalf | None = None
    """For an encoder that implements `DefersFrozenHalf`: do not build the frozen half yet. `assets` is set, too."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """A batch of contexts of K frames: all that a prediction may depend on."""

    visual: Tensor
    """Frozen features of the images, (B, K, *F)."""
    text: Tensor
    """Frozen features of the texts, (B, K, *F)."""
    text_ids: Tensor
    """The texts' tokens, (B, K, L) int64."""
    text_mask: Tensor
    """True where a token is real, (B, K, L) bool."""
    mask: Tensor
    """False where a frame is repeated to pad a short context, (B, K) bool."""
    last_image: Tensor
    """The last frame's image, (B, 3, H, W) in [0, 1]."""
    story: Tensor
    """Index of the story of each window, (B,) int64."""
    text_row: Tensor
    """Index of each distinct text, (B, K) int64: equal texts have equal indices."""
    texts: Sequence[Sequence[str]]
    """The texts as they stand in the story, B lists of K."""
    images: Callable[[], Tensor]
    """Reads all images, (B, K, 3, H, W) in [0, 1]. A decoder that needs none costs no memory for them."""

    def take(self, rows: Sequence[int]) -> Context:
        """Return the contexts of the stories with these indices."""
        tensors = {name: value[list(rows)] for name, value in vars(self).items() if name not in ("texts", "images")}
        return Context(**tensors, texts=[self.texts[row] for row in rows], images=lambda: self.images()[list(rows)])


@dataclass(frozen=True, kw_only=True)
class TargetFeatures:
    """Encoder features of the target frames of a batch, and what identifies them."""

    visual: Tensor
    """Frozen features of the images, (B, *F)."""
    text: Tensor
    """Frozen features of the texts, (B, *F)."""
    text_ids: Tensor
    """The texts' tokens by the text encoder, (B, L) int64."""
    text_mask: Tensor
    """True where a token is real, (B, L) bool."""
    image_row: Tensor
    """Index of each distinct image, (B,) int64."""
    text_row: Tensor
    """Index of each distinct text, (B,) int64."""
    place: Tensor
    """Index of the target frame in its story, from 0, (B,) int64."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """The target frames of a batch, for losses only."""

    ids: Tensor
    """Target tokens, ending in eos and without bos, (B, T) int64."""
    mask: Tensor
    """True where a token is real, (B, T) bool."""
    image: Tensor
    """(B, 3, H, W) in [0, 1]."""
    texts: Sequence[str]
    """The texts as they stand in the story, (B,)."""
    features: TargetFeatures | None = None
    """Only if a term of the loss needs them."""


@dataclass(frozen=True, kw_only=True)
class NextText:
    """The text of the next frame that an image decoder reads.

    It is the true one in training, and the generated one in prediction, which may be empty or nonsense.
    """

    texts: Sequence[str]
    """(B,)."""
    ids: Tensor
    """Tokens of the run's text encoder, (B, L) int64."""
    mask: Tensor
    """True where a token is real, (B, L) bool."""
    features: Tensor
    """Frozen features of the run's text encoder, (B, *F)."""


@dataclass(frozen=True, kw_only=True)
class NextQuery:
    """The queries for the next image and the next text: the candidate with the highest cosine is the likeliest.

    Candidates are vectors in the embedding spaces of the run: frozen features, averaged over positions or tokens.
    """

    visual: Tensor
    """(B, e), of length 1."""
    text: Tensor
    """(B, f), of length 1."""
    image_keys: Callable[[Tensor], Tensor]
    """Returns the keys (C, e), of length 1, of candidate images with vectors (C, d)."""
    text_keys: Callable[[Tensor], Tensor]
    """Returns the keys (C, f), of length 1, of candidate texts with vectors (C, d)."""


@dataclass(frozen=True, kw_only=True)
class Narrative:
    """The input of the decoders: the states of the temporal model, and the context itself."""

    steps: Tensor
    """The state after each frame, (B, K, D)."""
    summary: Tensor
    """The state after the whole context, (B, D)."""
    visual: Tensor
    """The visual encoder's embedding of each frame, (B, K, D)."""
    text: Tensor
    """The text encoder's embedding of each frame, (B, K, D)."""
    context: Context
    """The input of the encoders, for decoders that attend to it, copy from it or start from the last image."""
    next: NextQuery | None = None
    """The queries among candidates; None unless the objective `next_frame` has a weight."""


class VisualEncoder(Protocol):
    """Turn each image into one embedding. Frozen below a boundary, trained above it."""

    cache_key: str | None
    """A digest of all that `frozen` depends on (see `content_key`); None if `frozen` returns its input."""

    def pixels(self, images: Tensor) -> Tensor:
        """Prepare images (N, 3, H, W) uint8 for the network: resize and normalize to (N, 3, h, w) float."""

    def frozen(self, pixels: Tensor) -> Tensor:
        """Return (N, *F): deterministic, independent of the rest of the batch, no gradient, cacheable."""

    def __call__(self, features: Tensor) -> Tensor:
        """Return the embeddings (N, D) of what `frozen` returned. This is what trains."""


class TextEncoder(Protocol):
    """Turn each text into one embedding. Frozen below a boundary, trained above it."""

    cache_key: str | None
    """As for a visual encoder; it depends on the tokenizer and the length, too."""
    vocabulary: Vocabulary

    def tokenize(self, texts: Sequence[str]) -> TokenBatch:
        """Return ids and mask (N, L) of a fixed length L."""

    def frozen(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return (N, *F) from ids and mask (N, L), up to the freeze boundary; as for a visual encoder."""

    def __call__(self, features: Tensor, mask: Tensor) -> Tensor:
        """Return the embeddings (N, D) from what `frozen` returned and the mask (N, L)."""


class Fusion(Protocol):
    """Join the two embeddings of each frame."""

    def __call__(self, visual: Tensor, text: Tensor) -> Tensor:
        """Return (B, K, D) from (B, K, D) and (B, K, D)."""


class TemporalModel(Protocol):
    """Read the frames of a story in order."""

    def __call__(self, frames: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the state after each frame (B, K, D) and the summary (B, D), from (B, K, D) and the mask (B, K).

        Frames whose mask is False pad a short context. They come after the real frames, of which there is at
        least one. Neither the summary nor the state after a real frame may depend on them.
        """


class TextDecoder(Protocol):
    """Generate the next text.

    A decoder that selects whole texts has an attribute `models_text = False`: `vsr evaluate` reports no perplexity. One
    that writes nothing new has an attribute `caution`, a sentence that `vsr train`, `evaluate` and `predict` show. One
    whose texts fit a story of words that are not in the training texts, as a pretrained language model's do, has an
    attribute `open_vocabulary = True`: `vsr predict` then says nothing of such a story.
    """

    def tokenize(self, texts: Sequence[str]) -> TokenBatch:
        """Return target ids and mask (N, T): ending in eos, without bos."""

    def detokenize(self, ids: Tensor) -> list[str]:
        """Return the text of each row of generated ids (B, T)."""

    def loss(self, narrative: Narrative, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the mean cross-entropy in nats per real token, a scalar; token t is predicted from those before it.

        In training, it includes the terms of `BuildContext.text_objective`.
        """

    def generate(self, narrative: Narrative, decoding: Decoding) -> Tensor:
        """Return generated ids (B, T), padded after eos. There is no argument for a target.

        The method is never "mbr": that selects among texts that were sampled here.
        """


class ImageDecoder(Protocol):
    """Generate the next image from the narrative alone, always the same one.

    One that generates nothing new has an attribute `caution`, as a text decoder has.
    """

    def __call__(self, narrative: Narrative) -> Tensor:
        """Return (B, 3, H, W) in [0, 1]."""

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return a scalar from two images (B, 3, H, W) in [0, 1]."""


@runtime_checkable
class GenerativeImageDecoder(Protocol):
    """Generate the next image from the narrative and the next text, sampled by a random seed.

    An image decoder with `generate` is generative. The loss terms that compare a generated image with the true one
    (`l1`, `ssim`, `perceptual`) are refused for it, because it generates no image in training.
    """

    def loss(self, narrative: Narrative, text: NextText, target: Tensor) -> Tensor:
        """Return the mean over stories of a loss of the true images (B, 3, H, W) in [0, 1], a scalar.

        In evaluation mode it depends on its arguments only, not on torch's random numbers.
        """

    def generate(self, narrative: Narrative, text: NextText, seed: int) -> Tensor:
        """Return (B, 3, H, W) in [0, 1]: the same for the same seed, whatever else is in the batch.

        There is no argument for a target. `vsr_cli.api.generation.random_generators` seeds each story by itself.
        """


def mean_over_positions(features: Tensor) -> Tensor:
    """Return a vector for each image, (N, d), from features (N, d, h, w), (N, positions, d) or (N, d)."""
    if features.ndim == 4:
        return features.mean((2, 3))
    return features.mean(1) if features.ndim == 3 else features


def last_real(states: Tensor, mask: Tensor) -> Tensor:
    """Return the state (B, D) at the last real frame of each story, from (B, K, D) and the mask (B, K)."""
    places = mask.sum(dim=1) - 1  # (B,), as the real frames come first
    # Not `take_along_dim`, which torch exports for one number of stories alone.
    return states.gather(1, places[:, None, None].expand(-1, 1, states.shape[-1]))[:, 0]  # (B, 1, D) -> (B, D)
