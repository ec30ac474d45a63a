"""What each part of a model promises. Shapes: B stories, K context frames, N = B*K, D shared width, L tokens
of a frame's text, T tokens of a target text, V vocabulary, H W pixels, *F whatever an encoder's frozen half gives.

Every part is a `torch.nn.Module` made by the `build(options, context)` function of its component, with
`context` a `BuildContext`. Parts are matched by shape, not by base class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from .decoding import Decoding
from .text_objective import TextObjective
from .vocabulary import TokenBatch, Vocabulary

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class BuildContext:
    """What a part is told when it is built."""

    width: int
    """D, the width that all parts share."""
    steps: int
    """K, the number of context frames."""
    image_size: int
    """H = W of prepared images and of the predicted one, in pixels."""
    training_texts: Callable[[], Iterable[str]]
    """The texts of the training split; for a text encoder that makes its own vocabulary."""
    vocabulary: Vocabulary | None = None
    """The text encoder's vocabulary. None only while the encoders themselves are built."""
    text_objective: TextObjective = field(default_factory=TextObjective)
    """What a text decoder is trained for. One that heeds it, in training alone, keeps it as its attribute `objective`;
    around another, no model is built whose objective is more than the plain cross-entropy."""
    assets: Path | None = None
    """Where this part's `save_assets` wrote, when a run is read back. A part that is given it builds its
    structure from there and fetches nothing: its weights follow from the run. None on a first build."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """A batch of four-frame contexts: all that a prediction may depend on."""

    visual: Tensor
    """What the visual encoder's frozen half gave, (B, K, *F)."""
    text: Tensor
    """What the text encoder's frozen half gave, (B, K, *F)."""
    text_ids: Tensor
    """The texts' tokens, (B, K, L) int64."""
    text_mask: Tensor
    """True where a token is real, (B, K, L) bool."""
    mask: Tensor
    """True where a frame is real rather than repeated to fill the context, (B, K) bool."""
    last_image: Tensor
    """The last frame's image, (B, 3, H, W) in [0, 1]."""
    story: Tensor
    """A number for each story, (B,) int64: windows of one story have the same."""
    text_row: Tensor
    """A number for each distinct text, (B, K) int64: equal texts have equal numbers."""


@dataclass(frozen=True, kw_only=True)
class TargetFeatures:
    """The fifth frames of a batch as encoders give them, and what tells them from each other."""

    visual: Tensor
    """What the visual encoder's frozen half gave, (B, *F)."""
    text: Tensor
    """What the text encoder's frozen half gave, (B, *F)."""
    text_mask: Tensor
    """True where a token is real, (B, L) bool."""
    image_row: Tensor
    """A number for each distinct image, (B,) int64."""
    text_row: Tensor
    """A number for each distinct text, (B,) int64."""
    place: Tensor
    """Which frame of its story the target is, from 0, (B,) int64."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """The fifth frames of a batch, for losses alone."""

    ids: Tensor
    """Tokens to write, ending in eos and without bos, (B, T) int64."""
    mask: Tensor
    """True where a token is real, (B, T) bool."""
    image: Tensor
    """(B, 3, H, W) in [0, 1]."""
    features: TargetFeatures | None = None
    """Only where a term of the loss asks for them."""


@dataclass(frozen=True, kw_only=True)
class NextQuery:
    """Which image and which text the model expects next, among any candidates: the greater the cosine, the likelier.

    Candidates are given as vectors in the run's own spaces: what an encoder's frozen half gives, the mean over places
    or tokens where it gives several.
    """

    visual: Tensor
    """(B, e), of length 1."""
    text: Tensor
    """(B, f), of length 1."""
    image_keys: Callable[[Tensor], Tensor]
    """Gives the keys (C, e), of length 1, of candidate images by their vectors (C, d)."""
    text_keys: Callable[[Tensor], Tensor]
    """Gives the keys (C, f), of length 1, of candidate texts by their vectors (C, d)."""


@dataclass(frozen=True, kw_only=True)
class Narrative:
    """What the decoders write from: the temporal model's reading of the context, and the context itself."""

    steps: Tensor
    """The state after each frame, (B, K, D)."""
    summary: Tensor
    """The state after the whole context, (B, D)."""
    visual: Tensor
    """The visual encoder's embedding of each frame, (B, K, D)."""
    text: Tensor
    """The text encoder's embedding of each frame, (B, K, D)."""
    context: Context
    """What the encoders read, for decoders that attend, copy or start from the last image."""
    next: NextQuery | None = None
    """What is looked for among candidates; None unless the objective `next_frame` has a weight."""


class VisualEncoder(Protocol):
    """Turns images into one embedding each. Frozen below a boundary, trained above it."""

    cache_key: str | None
    """A digest of all that `frozen` depends on (see `content_key`), or None where nothing is frozen: then
    `frozen` returns its input and its output is not worth keeping."""

    def pixels(self, images: Tensor) -> Tensor:
        """Prepare images (N, 3, H, W) uint8 for the network: resize and normalise to (N, 3, h, w) float."""
        ...

    def frozen(self, pixels: Tensor) -> Tensor:
        """Return (N, *F): deterministic, independent of the rest of the batch, no gradient, cacheable."""
        ...

    def __call__(self, features: Tensor) -> Tensor:
        """Return the embeddings (N, D) of what `frozen` returned. This is what trains."""
        ...


class TextEncoder(Protocol):
    """Turns texts into one embedding each. Frozen below a boundary, trained above it."""

    cache_key: str | None
    """As for a visual encoder; the tokenizer and the length are part of it."""
    vocabulary: Vocabulary

    def tokenize(self, texts: Sequence[str]) -> TokenBatch:
        """Return ids and mask (N, L) of a fixed length L."""
        ...

    def frozen(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return (N, *F) from ids and mask (N, L), up to the freeze boundary; as for a visual encoder."""
        ...

    def __call__(self, features: Tensor, mask: Tensor) -> Tensor:
        """Return the embeddings (N, D) from what `frozen` returned and the mask (N, L)."""
        ...


class Fusion(Protocol):
    """Joins the two embeddings of each frame."""

    def __call__(self, visual: Tensor, text: Tensor) -> Tensor:
        """Return (B, K, D) from (B, K, D) and (B, K, D)."""
        ...


class TemporalModel(Protocol):
    """Reads the frames of a story in order."""

    def __call__(self, frames: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the state after each frame (B, K, D) and the summary (B, D), from (B, K, D) and the mask (B, K).

        Frames whose mask is False are repeats that fill a short context. They stand after the real ones, of which
        there is at least one. Neither the summary nor the state after a real frame may depend on them.
        """
        ...


class TextDecoder(Protocol):
    """Writes the next text.

    One that selects whole texts has an attribute `models_text = False`: its loss is no cross-entropy of tokens, so
    that `vsr evaluate` reports no perplexity.
    """

    def tokenize(self, texts: Sequence[str]) -> TokenBatch:
        """Return target ids and mask (N, T): ending in eos, without bos."""
        ...

    def detokenize(self, ids: Tensor) -> list[str]:
        """Return the text of each row of generated ids (B, T)."""
        ...

    def loss(self, narrative: Narrative, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the mean cross-entropy in nats a real token, a scalar; token t is predicted from those before it.

        In training, what the `text_objective` of the build asks for is part of it.
        """
        ...

    def generate(self, narrative: Narrative, decoding: Decoding) -> Tensor:
        """Write free-running, with no target in sight: ids (B, T), padded after eos."""
        ...


@runtime_checkable
class ScoresEveryPlace(Protocol):
    """A text decoder that can also be told the text up to each place; only the leaky protocol asks it to."""

    def logits(self, narrative: Narrative, ids: Tensor) -> Tensor:
        """Score every token at every place (B, T, V); each place reads only the targets (B, T) before it."""
        ...


class ImageDecoder(Protocol):
    """Draws the next image."""

    def __call__(self, narrative: Narrative) -> Tensor:
        """Return (B, 3, H, W) in [0, 1]."""
        ...

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return a scalar from two images (B, 3, H, W) in [0, 1]."""
        ...


@runtime_checkable
class HasAssets(Protocol):
    """A part that needs more than weights to be built again, e.g. a tokenizer or a backbone's configuration."""

    def save_assets(self, folder: Path) -> None:
        """Write files into an empty folder; `BuildContext.assets` names it when the run is read back."""
        ...


@dataclass(frozen=True, kw_only=True)
class TrainingFrames:
    """Frames of the training split, for what is fitted or looked up rather than trained: F frames, of whole stories."""

    texts: Sequence[str]
    """(F,)."""
    images: Callable[[Sequence[int]], NDArray[np.uint8]]
    """Gives the pictures of some frames, (n, H, W, 3), by their place among the F."""
    visual: Callable[[], NDArray[np.float32]]
    """Computes (F, d) in the run's visual space: what the frozen half gives, or the embedding where nothing is frozen;
    the mean over places or tokens where it gives several vectors."""
    text: Callable[[], NDArray[np.float32]]
    """Computes (F, d) in the run's text space."""
    visual_trains: bool
    """Whether the visual space is that of an embedding which is yet to be trained."""
    text_trains: bool
    story: NDArray[np.int64]
    """(F,): frames of one story have the same number, and stand in their order."""


@runtime_checkable
class FitsTraining(Protocol):
    """A decoder that takes something from the training frames themselves, once, before the first step of training."""

    def fit(self, frames: TrainingFrames) -> None:
        """Keep what is needed of them: numbers in frozen weights or buffers, all else for `save_assets` to write."""
        ...


def last_real(states: Tensor, mask: Tensor) -> Tensor:
    """Return the state (B, D) at each story's last real frame, from (B, K, D) and the mask (B, K).

    For a temporal model whose states see no later frame: what fills a short context then changes nothing in it.
    """
    places = mask.sum(dim=1) - 1  # (B,), as the real frames come first
    return states.take_along_dim(places[:, None, None], dim=1)[:, 0]  # (B, 1, D) -> (B, D)


def content_key(tensors: Mapping[str, Tensor], **facts: object) -> str:
    """Digest weights and facts into a cache key: equal keys mean equal frozen features.

    `tensors` is a state dict or a part of one; `facts` are whatever else the result depends on (resolution,
    normalisation, layer, tokenizer). Gives 32 hexadecimal digits of a SHA-256.
    """
    import hashlib

    digest = hashlib.sha256()
    for name in sorted(facts):
        digest.update(f"{name}={facts[name]!r};".encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)};".encode())
        digest.update(tensor.reshape(-1).view(dtype=_torch_uint8()).numpy().data)
    return digest.hexdigest()[:32]


def _torch_uint8() -> Any:
    import torch

    return torch.uint8
