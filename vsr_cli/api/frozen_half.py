"""The frozen half of an encoder apart from the encoder: stored once, and built only when it is needed.

Where all features of a frozen half are cached, training needs neither its weights nor the library that defines it. An
encoder that implements `DefersFrozenHalf` (see `optional_contracts`) is then built without it. Imports torch only when
called.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, cast

from ..errors import VsrError
from .loading import read_tensors

if TYPE_CHECKING:
    from torch import nn

_LOCK = RLock()
"""Held while a frozen half is built, so that no other thread uses or builds it meanwhile."""


@dataclass(frozen=True, kw_only=True)
class FrozenSource:
    """What a frozen half is made from, beside the options of its component.

    Two builds from the same options, unchanged files and the same versions of packages have the same frozen half.
    """

    files: Sequence[Path] = ()
    """All files that are read: weights, configurations, tokenizers."""
    packages: Sequence[str] = ()
    """The distributions whose code it runs, beside torch."""
    random: bool = False
    """Whether its weights are random, by `BuildContext.seed`."""


@dataclass(frozen=True, kw_only=True)
class FrozenHalf:
    """The frozen half of an encoder in a file, and what is known of it before it is built."""

    weights: Path
    """A safetensors file of the tensors by their names in the encoder's state dict."""
    cache_key: str
    """The encoder's."""
    shape: tuple[int, ...]
    """*F of the features that it computes."""
    parameters: int
    """The number of its parameters."""
    facts: Mapping[str, Any]
    """What the encoder reported as `frozen_facts`."""
    initial: Path | None = None
    """A file of the encoder's `initial` tensors, in the same form. None in a run, whose checkpoints hold them."""

    def fill(self, encoder: nn.Module, file: Path) -> None:
        """Copy the tensors of `weights` or `initial` into an encoder in which their modules have been built.

        Raises VsrError if the file cannot be read, or a tensor is missing, not finite, or of another shape or type.
        """
        import torch

        tensors = read_tensors(file, remedy="restore the file or train anew")
        state = encoder.state_dict()
        modules = {name.partition(".")[0] for name in tensors}
        lacking = [name for name in state if name.partition(".")[0] in modules and name not in tensors]
        if lacking:
            raise VsrError(
                f"{file}: does not fit the encoder (it lacks {lacking[0]}); install the plugin versions that the run "
                "names"
            )
        for name, tensor in tensors.items():
            mine = state.get(name)
            if mine is None or mine.shape != tensor.shape or mine.dtype != tensor.dtype:
                raise VsrError(
                    f"{file}: does not fit the encoder (its {name} is {tuple(tensor.shape)} {tensor.dtype}); "
                    "install the plugin versions that the run names"
                )
        with torch.no_grad():
            for name, tensor in tensors.items():
                state[name].copy_(tensor)


@contextmanager
def own_random_numbers(seed: int = 0) -> Iterator[None]:
    """Draw torch's random numbers on the CPU by a seed of their own in this block, and continue as before after it.

    Building a network draws some, so that the weights built after it would depend on whether it is built.
    """
    import torch

    state = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(state)


class FrozenHalfLater:
    """The methods of `DefersFrozenHalf` for an encoder whose frozen half is one submodule, a `torch.nn.Module`.

    A subclass names it in `half_name`, adds `_make_half`, and sets `pending` to `BuildContext.frozen_half`.
    """

    half_name: str
    """The attribute that holds the half once it is built."""
    pending: FrozenHalf | None = None
    _built: FrozenHalf | None = None

    def _make_half(self) -> nn.Module:
        """Return the half with any weights, in eval mode and not trained."""
        raise AssertionError("a subclass that is built without its frozen half defines _make_half")

    def build_frozen_half(self) -> None:
        """Build the half with its stored weights, if that has not been done."""
        if self.pending is None:
            return
        with _LOCK:
            if (half := self.pending) is None:  # another thread has built it
                return
            encoder = cast("nn.Module", self)
            device = next(encoder.parameters()).device
            with own_random_numbers():
                made = self._make_half()
            setattr(self, self.half_name, made)
            half.fill(encoder, half.weights)
            made.to(device)
            self._built, self.pending = half, None

    def release_frozen_half(self) -> None:
        """Drop the half, if it was built from its stored weights."""
        if self._built is not None:
            delattr(self, self.half_name)
            self._built, self.pending = None, self._built
