"""Building an encoder without its frozen half, from the cache of frozen weights, and filling that cache."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..api import BuildContext, DefersFrozenHalf, FrozenHalf
from ..api.finite import first_not_finite
from ..api.requirements import installed_version
from ..config.resolve import Choice
from ..config.schema import FeatureOptions
from ..data.cache.extraction import fits_limit
from ..data.cache.frozen_weights import INITIAL, WEIGHTS, StoredHalf, add_frozen, find_frozen
from ..errors import PluginError, VsrError
from ..files.strict_json import to_json
from ..plugin.kinds import ENCODERS
from ..plugin.loading import build, frozen_source
from .tensor_files import write_tensors

PACKAGES = ("torch", "safetensors")
"""Packages that every frozen half depends on."""
REMEDY = "cannot be built without its frozen half (see DefersFrozenHalf); report it to its authors"


@dataclass(frozen=True, kw_only=True)
class FrozenStore:
    """How building a model uses the cache of frozen weights."""

    options: FeatureOptions
    """The limit of the cache."""
    writes: bool = True
    """Whether what is missing is added."""


def build_stored(
    section: str,
    choice: Choice,
    context: BuildContext,
    *,
    store: FrozenStore,
    shape_of: Callable[[Any], tuple[int, ...]],
) -> Any:
    """Build an encoder without its frozen half if the cache has it or can be given it, otherwise whole.

    The encoder is the same in both cases, and so are torch's random numbers after it. `shape_of` returns the shape *F
    of an encoder's frozen features by running it.
    """
    identity = _identity(section, choice, context)
    if identity is None:
        return _build(choice, context)
    if (stored := find_frozen(section, identity)) is not None:
        return _deferred(choice, context, stored)
    before = torch.get_rng_state()
    part: Any = _build(choice, context)
    # A source that has changed in the meantime may be read in part before the change.
    if not store.writes or part.cache_key is None or identity != _identity(section, choice, context):
        return part
    if not isinstance(part, DefersFrozenHalf):
        raise PluginError(f"{choice.provided.described}: declares frozen_source, but {REMEDY}")
    part = cast(Any, part)
    size = sum(tensor.nbytes for tensor in (*_state_of_half(part).values(), *part.initial.values()))
    if not fits_limit(size, store.options):
        return part
    added = add_frozen(
        section,
        identity,
        write=lambda folder: save_half(part, folder, shape=shape_of(part)),
        save_assets=part.save_assets,
        component=choice.provided.described,
    )
    if not added or (stored := find_frozen(section, identity)) is None:
        return part
    torch.set_rng_state(before)
    return _deferred(choice, context, stored)


def save_half(encoder: Any, folder: Path, *, shape: tuple[int, ...]) -> FrozenHalf:
    """Write the frozen half of a whole encoder, whose features have the shape *F, into a folder.

    Raises VsrError if a weight is not finite, OSError or SafetensorError if it cannot be written.
    """
    half, initial = _state_of_half(encoder), dict(encoder.initial)
    if found := first_not_finite(half.items(), masks=True):
        raise VsrError(f"{type(encoder).__name__}: its weight {found} holds numbers that are not finite; use others")
    for name, tensors in ((WEIGHTS, half), (INITIAL, initial)):
        if tensors:
            write_tensors(tensors, folder / name)
            (folder / name).chmod(0o644)  # safetensors writes 0600
    return FrozenHalf(
        weights=folder / WEIGHTS,
        cache_key=encoder.cache_key,
        shape=shape,
        parameters=sum(weight.numel() for weight in encoder.parameters() if not weight.requires_grad),
        facts=dict(encoder.frozen_facts),
        initial=folder / INITIAL if initial else None,
    )


def pending_halves(model: nn.Module) -> Iterator[tuple[str, FrozenHalf]]:
    """Yield the section and the half of each encoder of a model whose frozen half is not built."""
    for section in ENCODERS:
        half = getattr(getattr(model, section), "pending", None)
        if half is not None:
            yield section, half


def build_frozen_halves(model: nn.Module) -> None:
    """Build the frozen halves that are not built yet, so that the module holds all of its weights."""
    for section, _ in list(pending_halves(model)):
        getattr(model, section).build_frozen_half()


def release_frozen_half(model: nn.Module, section: str) -> None:
    """Free the memory of the frozen half of an encoder that `build_frozen_half` has built, if it has."""
    encoder = getattr(model, section)
    if isinstance(encoder, DefersFrozenHalf):
        encoder.release_frozen_half()


def _build(choice: Choice, context: BuildContext) -> Any:
    return build(choice.provided, choice.options, context)


def _deferred(choice: Choice, context: BuildContext, stored: StoredHalf) -> Any:
    part = _build(choice, replace(context, assets=stored.assets, frozen_half=stored.half))
    if getattr(part, "pending", None) is None:
        raise PluginError(f"{choice.provided.described}: declares frozen_source, but {REMEDY}")
    return part


def _state_of_half(part: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of the modules of an encoder that hold its frozen weights."""
    frozen = {name.partition(".")[0] for name, weight in part.named_parameters() if not weight.requires_grad}
    return {name: tensor for name, tensor in part.state_dict().items() if name.partition(".")[0] in frozen}


def _identity(section: str, choice: Choice, context: BuildContext) -> str | None:
    """Return a digest of all that a frozen half is made from; None if that is not known, or a file is missing.

    A file is identified as in git's index, without reading it; the code of the component likewise.
    """
    source = frozen_source(choice.provided, choice.options)
    if source is None:
        return None
    module = find_spec(choice.provided.component.build.partition(":")[0])
    code = sorted(Path(module.origin).parent.glob("*.py")) if module and module.origin else []
    try:
        files = [_stat(path) for path in (*code, *source.files)]
    except OSError:
        return None
    facts = {
        "component": choice.provided.described,
        "options": choice.options.model_dump(mode="json"),
        "image_size": context.image_size,
        "seed": context.seed if source.random else None,
        "versions": [f"{name} {installed_version(name)}" for name in (*PACKAGES, *source.packages)],
        "files": files,
    }
    return hashlib.sha256(f"{section} {to_json(facts)}".encode()).hexdigest()[:32]


def _stat(path: Path) -> Sequence[str | int]:
    resolved = path.resolve()
    found = resolved.stat()
    return [str(path), str(resolved), found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]
