"""The contract of a loss term, and building the terms of an objective.

Each term is a module of this package that has the name of its weight in `ObjectiveOptions` and a function
`build(request: TermRequest) -> LossTerm`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...api import Context, GenerativeImageDecoder, Narrative, NextText, Target
from ...config.schema import ObjectiveOptions
from ...data.batches import Targets
from ...data.prepared_types import Windows
from ...errors import VsrError
from ..parts import Parts

Gather = Callable[[Tensor], Tensor]
"""Concatenates the rows (B, *F) of all processes, with gradients; the identity in a single process."""


@dataclass(frozen=True, kw_only=True)
class ForwardPass:
    """The inputs and outputs of a model for one batch, from which loss terms are computed."""

    parts: Parts
    context: Context
    target: Target
    narrative: Narrative
    generate_image: Callable[[], Tensor]
    """Returns the images (B, 3, H, W) in [0, 1] of a decoder that generates them in training."""
    gather: Gather

    @cached_property
    def image(self) -> Tensor:
        """The generated images, (B, 3, H, W) in [0, 1], generated when the first term reads them."""
        return self.generate_image()

    @property
    def true_text(self) -> NextText:
        """The true texts, for a generative image decoder."""
        features = self.target.features
        assert features is not None, "the term `image` needs them"
        return NextText(texts=self.target.texts, ids=features.text_ids, mask=features.text_mask, features=features.text)

    def differentiable_image(self, term: str) -> Tensor:
        """Return `image`. Raises VsrError if the term is to be learned from but no gradient reaches the decoder."""
        if torch.is_grad_enabled() and not self.image.requires_grad:
            raise VsrError(
                f"image decoder {type(self.parts.image_decoder).__qualname__}: its images have no gradient, so nothing "
                f"can be learned from objective.{term}; set it to 0, or choose another --image-decoder"
            )
        return self.image


class LossTerm(nn.Module):
    """One term of the training loss: `forward` returns a batch's mean, a scalar."""

    computed_by: str | None = None
    """The section of the component that computes it, which errors name."""
    contrastive = False
    """Whether it compares the batch's windows with each other. It then gathers those of all processes."""
    compares_images = False
    """Whether it compares a generated image with the true one; generative image decoders generate none then."""
    needs_target_features = False
    """Whether it reads `Target.features`."""

    def forward(self, outputs: ForwardPass) -> Tensor:
        """Return the mean over a batch, a scalar."""
        raise NotImplementedError

    def counts(self, windows: Windows, targets: Targets) -> NDArray[np.int64]:
        """Return the number of items of each window (W,) that the mean is over: one image unless overridden."""
        return np.ones(len(windows), dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class TermRequest:
    """What a loss term may depend on when it is built."""

    objective: ObjectiveOptions
    parts: Parts
    width: int
    """D, the shared width of the parts."""
    steps: int
    """K, the number of context frames."""
    sample: tuple[Tensor, Tensor, Tensor] | None = None
    """What `frozen_sample` returned for the encoders; None if no term reads it."""
    read_weights: bool
    """Whether frozen weights are read from their file; a stored run contains them."""


def build_terms(request: TermRequest) -> dict[str, LossTerm]:
    """Build the terms that the objective computes, by name. Raises VsrError if a file of weights cannot be read.

    A generative image decoder of which nothing trains has no image loss: it would cost most of a step, for nothing.
    """
    decoder: Any = request.parts.image_decoder
    trains = any(weight.requires_grad for weight in decoder.parameters())
    idle = isinstance(decoder, GenerativeImageDecoder) and not trains
    names = [name for name in request.objective.computed_terms if not (idle and name == "image")]
    modules = {name: import_module(f".{name}", __package__) for name in names}
    return {name: module.build(request) for name, module in modules.items()}
