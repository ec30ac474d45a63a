"""Visual encoder over a pretrained network: one vector per image, and a linear layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from vsr_cli.api import BuildContext, FrozenHalfLater, VsrError, content_key, one_line, own_random_numbers

from . import VisualOptions
from .folding import folded
from .preprocessing import Preprocessing
from .style import WithStyle


class PretrainedEncoder(FrozenHalfLater, nn.Module):
    """A network without its classifier, frozen or trained, and a linear layer over its features.

    `make` builds the network, which returns (N, F) from pixels (N, 3, size, size). `structure` is all that its weights
    do not determine, for the cache key; `assets` are files by name, from which it is built when a run is loaded. With
    `context.frozen_half`, the network is built when `frozen` is first called. Raises VsrError if the network does not
    accept such pixels.
    """

    half_name = "network"
    initial: Mapping[str, Tensor] = MappingProxyType({})

    def __init__(
        self,
        make: Callable[[], nn.Module],
        preprocessing: Preprocessing,
        *,
        structure: Mapping[str, object],
        options: VisualOptions,
        context: BuildContext,
        assets: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.preprocessing = preprocessing
        self.trains_whole = options.frozen == "none"
        self.pending = context.frozen_half
        self._style = options.style
        self._make = make if self.pending else None
        # Without style, the key is that of earlier versions.
        self._structure = {**structure, **({"style": True} if options.style else {})}
        self._assets = assets or {}
        self._key: str | None = None
        # In a list, so that it is no submodule, which would be saved.
        self._folded: list[nn.Module] | None = None
        """Within `encoding_many`, the network that computes there, once it is made."""
        if self.pending is None:
            with own_random_numbers(context.seed):
                self.network = self._network(make())
            features = features_of(self.network, preprocessing.size)
        else:
            self._key = self.pending.cache_key
            features = int(self.pending.facts["features"])
        self.frozen_facts: Mapping[str, Any] = {"features": features}
        self.projection = nn.Linear(features, context.width)

    @property
    def cache_key(self) -> str | None:
        """Return a digest of the frozen weights, the structure and the preprocessing."""
        if self.trains_whole:
            return None
        if self._key is not None:
            return self._key
        return content_key(self.network.state_dict(), **self._structure, **asdict(self.preprocessing))

    def _make_half(self) -> nn.Module:
        assert self._make is not None
        return self._network(self._make())

    def _network(self, network: nn.Module) -> nn.Module:
        network.eval()
        if self._style:
            features_of(network, self.preprocessing.size)  # reports a network that does not fit
            network = WithStyle(network, size=self.preprocessing.size).eval()
        return network.requires_grad_(self.trains_whole)

    def train(self, mode: bool = True) -> PretrainedEncoder:
        """Set the mode of what trains; running statistics do not change.

        A batch is split over passes and processes, and batch statistics would depend on the split.
        """
        super().train(mode)
        for module in self.network.modules() if self.pending is None else ():
            if not self.trains_whole or isinstance(module, _BatchNorm):
                module.training = False
        return self

    def pixels(self, images: Tensor) -> Tensor:
        """Return the network's input (N, 3, size, size) from images (N, 3, H, W) uint8."""
        return self.preprocessing(images)

    def frozen(self, pixels: Tensor) -> Tensor:
        """Return features (N, F) of pixels (N, 3, size, size), or the pixels if the network trains."""
        if self.trains_whole:
            return pixels
        self.build_frozen_half()
        with torch.no_grad():
            # The fast memory format for convolutions.
            pixels = pixels.contiguous(memory_format=torch.channels_last)
            features: Tensor = self._network_for(pixels)(pixels)
        return features

    @contextmanager
    def encoding_many(self) -> Iterator[None]:
        """In this context and on a CPU, features come from a copy of the network that is faster."""
        self._folded = []
        try:
            yield
        finally:
            self._folded = None

    def _network_for(self, pixels: Tensor) -> nn.Module:
        made = self._folded
        if made is None or pixels.device.type != "cpu":
            return self.network
        if not made:
            made.append(folded(self.network, pixels[:2]))
        return made[0]

    def forward(self, features: Tensor) -> Tensor:
        """Return (N, D) from what `frozen` returned."""
        if self.trains_whole:
            features = self.network(features)  # (N, 3, size, size) -> (N, F)
        embedding: Tensor = self.projection(features)
        return embedding

    def save_assets(self, folder: Path) -> None:
        """Write the preprocessing, and the other assets."""
        self.preprocessing.save(folder)
        for name, text in self._assets.items():
            (folder / name).write_text(text, encoding="utf-8")


@torch.no_grad()
def features_of(network: nn.Module, size: int) -> int:
    """Return the number of features F of a network, by running it. Raises VsrError if that fails."""
    try:
        found = network(torch.zeros(1, 3, size, size))
    except (RuntimeError, ValueError, AssertionError) as error:
        raise VsrError(
            f"visual encoder: {type(network).__name__} does not accept images of {size}x{size} pixels "
            f"({one_line(error)}); choose another network"
        ) from error
    if not isinstance(found, Tensor) or found.ndim != 2:
        raise VsrError(
            f"visual encoder: {type(network).__name__} does not return one vector per image "
            f"(got shape {tuple(getattr(found, 'shape', ()))}); choose another network"
        )
    return found.shape[1]
