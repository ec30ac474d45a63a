"""What a component may do beyond the contract of its kind: it is asked whether it has the method.

Shapes: B stories, S samples, N texts, T tokens of a target text, L tokens of a context text, V vocabulary, D shared
width, F frames, H W pixels, d width of an embedding space.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from .decoding import Decoding
from .frozen_half import FrozenHalf
from .vocabulary import Vocabulary

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from .contracts import Narrative


@runtime_checkable
class GeneratesSamples(Protocol):
    """A text decoder that shares work between the samples of a story, such as the encoding of its context."""

    def generate_samples(self, narrative: Narrative, decodings: Sequence[Decoding]) -> Tensor:
        """Return ids (B, S, T): for each of S decodings, what `generate` returns for it."""


@runtime_checkable
class ScoresEveryPlace(Protocol):
    """A text decoder that scores every position given the targets before it, for the leaky protocol only."""

    def logits(self, narrative: Narrative, ids: Tensor) -> Tensor:
        """Return scores of every token at every position (B, T, V); each position reads only targets before it."""


@runtime_checkable
class WritesByStep(Protocol):
    """A text decoder that generates token by token from tensors, so that `vsr export` can write its step as a graph.

    `TokenDecoder` has `step`; a subclass adds `begin`.
    """

    vocabulary: Vocabulary
    length: int
    """The longest text, in tokens."""

    def begin(self, narrative: Narrative) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Return the state before the first token, and what the steps read and never change; both (B, ...).

        Of `narrative.context`, only `mask`, `text_ids` and `text_mask` may be read.
        """

    def step(
        self, tokens: Tensor, state: tuple[Tensor, ...], fixed: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return scores (B, V) of the tokens after `tokens` (B,), and the new state, of the same shapes."""


@runtime_checkable
class HasGraphForm(Protocol):
    """A text encoder whose `frozen` or `forward` decides by the values of tensors, which no graph can do."""

    def graph_form(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the embeddings (N, D) from ids and mask (N, L) by operations on tensors alone, for `vsr export`.

        Raises VsrError if there is no such form for its options.
        """


@runtime_checkable
class HasAssets(Protocol):
    """A component that needs more than weights to be built again, e.g. a tokenizer or a configuration."""

    def save_assets(self, folder: Path) -> None:
        """Write files into an empty folder; `BuildContext.assets` is that folder when the run is loaded."""


@runtime_checkable
class DefersFrozenHalf(Protocol):
    """An encoder that can be built without its frozen half, which it builds when `frozen` is first called.

    Its component declares `frozen_source`. Without `BuildContext.frozen_half` it is built whole. With it, it is built
    from `assets`, without the library that defines the half, and draws the same random numbers for what trains. Then
    `cache_key`, `tokenize`, `pixels`, `forward` and `save_assets` do the same as in the whole encoder.
    """

    frozen_facts: Mapping[str, Any]
    """What must be known of the half before it is built, as JSON; `FrozenHalf.facts` are these."""
    initial: Mapping[str, Tensor]
    """The tensors of what trains that come from the same source, by their names in the state dict; often none."""
    pending: FrozenHalf | None
    """The half that is not built yet; None if it is part of the module."""

    def build_frozen_half(self) -> None:
        """Build the half, `fill` it and make it part of the module, on its device, if that has not been done."""

    def release_frozen_half(self) -> None:
        """Drop the half if `build_frozen_half` has built it, so that it is `pending` again."""


@runtime_checkable
class EncodesMany(Protocol):
    """An encoder that computes many frozen features faster, after a preparation that takes time."""

    def encoding_many(self) -> AbstractContextManager[None]:
        """Return a context in which `frozen` may return features that differ by rounding from those outside of it."""


@runtime_checkable
class FoldsUpdates(Protocol):
    """A component that trained updates of weights, such as LoRA, which it can add to these weights."""

    def fold_updates(self) -> None:
        """Add the updates to the weights and drop them: the component predicts faster, and is not trained any more."""


@dataclass(frozen=True, kw_only=True)
class TrainingFrames:
    """F frames of whole stories of the training split, for components that are fitted before training."""

    texts: Sequence[str]
    """(F,)."""
    images: Callable[[Sequence[int]], NDArray[np.uint8]]
    """Returns images (n, H, W, 3) by their indices among the F frames."""
    visual: Callable[[], NDArray[np.float32]]
    """Computes (F, d) in the visual space: frozen features averaged over positions, or embeddings if none is frozen."""
    text: Callable[[], NDArray[np.float32]]
    """Computes (F, d) in the text space."""
    visual_trains: bool
    """Whether the visual encoder has no frozen features, so that its vectors change in training."""
    text_trains: bool
    story: NDArray[np.int64]
    """Index of the story of each frame, (F,); the frames of a story are in order."""
    count_steps: Callable[[int, str], Iterable[int]] = lambda steps, description: range(steps)
    """Yields 0 to n - 1 for n and a description, with a progress bar; for a component that trains in `fit`."""


@runtime_checkable
class FitsTraining(Protocol):
    """A component that is fitted to the training frames, once, before the first training step."""

    def fit(self, frames: TrainingFrames) -> None:
        """Store results in frozen weights or buffers, and the rest for `save_assets` to write."""
