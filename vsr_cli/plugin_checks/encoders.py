"""Checks of encoders: tokenization, frozen features that can be cached, alone or many, and a complete cache key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import torch
from pydantic import ValidationError
from torch import Tensor

from ..api import BuildContext, EncodesMany, Options
from ..config.resolve import Choice
from ..errors import VsrError
from ..model.frozen_store import save_half
from ..model.story_model import StoryModel
from ..plugin.loading import build, frozen_source
from .harness import SIZES, Harness, describe, near, tokens
from .outcomes import Check, require
from .stories import make_stories

TEXTS = ("Mara opens the box.", "", "It rains, " * 40, "a", "Ünïcode — “quoted” 😀")
WEIGHTS_TRIED = 3


@dataclass(frozen=True)
class Inputs:
    """Input of `frozen`: pixels, or ids and mask; N rows each."""

    tensors: tuple[Tensor, ...]

    def rows(self, chosen: slice) -> Inputs:
        """Return some of the rows."""
        return Inputs(tuple(tensor[chosen] for tensor in self.tensors))


def _inputs(harness: Harness, model: StoryModel) -> Inputs:
    if harness.section == "text":
        return Inputs(tokens(model.text.tokenize(TEXTS), len(TEXTS)))
    images = make_stories(1, steps=4, image_size=SIZES[0].image_size).images[:2]
    return Inputs((model.visual.pixels(images),))


def _frozen(harness: Harness, model: StoryModel, inputs: Inputs) -> Tensor:
    features: Tensor = harness.component(model).frozen(*inputs.tensors)
    return features


def tokenizes(harness: Harness) -> str | None:
    """Tokenize ordinary and unusual texts, alone and together."""
    model = harness.build()
    text, vocabulary = model.text, model.text.vocabulary
    ids, mask = tokens(text.tokenize(TEXTS), len(TEXTS))
    require(int(ids.min()) >= 0 and int(ids.max()) < len(vocabulary), "returned ids outside of its vocabulary")
    require(bool((ids[~mask] == vocabulary.pad).all()), "pads with another id than pad of its vocabulary")
    for row, one in enumerate(TEXTS):
        alone, real = tokens(text.tokenize([one]), 1)
        require(alone.shape[1] == ids.shape[1], "returned another length for one text than for several; L is fixed")
        require(alone[0].equal(ids[row]) and real[0].equal(mask[row]), f"tokenizes {one[:20]!r} differently in a batch")
    special = {vocabulary.pad, vocabulary.bos, vocabulary.eos}
    require(all(0 <= token < len(vocabulary) for token in special), "its pad, bos or eos is not in its vocabulary")
    return f"L = {ids.shape[1]}, V = {len(vocabulary)}"


@torch.no_grad()
def ignores_padding(harness: Harness) -> str | None:
    """Replace padding by real tokens."""
    model = harness.build()
    ids, mask = _inputs(harness, model).tensors
    changed = ids.where(mask, torch.full_like(ids, int(ids[0, 0])))
    one, other = (model.text(model.text.frozen(each, mask), mask) for each in (ids, changed))
    require(near(one, other), "ids outside of the mask change the embedding; exclude them")
    return None


def frozen_is_a_function(harness: Harness) -> str | None:
    """Compute the same features again, in training mode and alone, and require no gradient."""
    model = harness.build()
    component, inputs = harness.component(model), _inputs(harness, model)
    first = _frozen(harness, model, inputs)
    require(first.equal(_frozen(harness, model, inputs)), "returned other features the second time")
    if component.cache_key is None:
        require(first.equal(inputs.tensors[0]), "cache_key is None, but frozen does not return its input")
        return "nothing is frozen"
    require(not first.requires_grad, "its result requires a gradient; compute it under torch.no_grad()")
    model.train()
    require(
        first.equal(_frozen(harness, model, inputs)),
        "returned other features in training mode; override train()",
    )
    require(first.equal(_frozen(harness, model.eval(), inputs)), "training mode changed it permanently")
    for row in range(len(first)):
        alone = _frozen(harness, model, inputs.rows(slice(row, row + 1)))
        require(near(alone, first[row : row + 1]), "returned other features for an input alone")
    return f"{describe(first[0])} each"


def key_is_complete(harness: Harness) -> str | None:
    """Change weights and options: whatever changes the features must change the key."""
    model = harness.build()
    component, inputs = harness.component(model), _inputs(harness, model)
    key, features = component.cache_key, _frozen(harness, model, inputs)
    require(harness.component(harness.build()).cache_key == key, "a second build with equal weights has another key")
    tried = [f"option {field}" for field, other in _varied(harness) if _differs(harness, field, other, key, features)]
    if key is None:
        return "nothing is frozen"
    frozen = _frozen_floats(component)
    for name in list(frozen)[:: max(1, len(frozen) // WEIGHTS_TRIED)]:
        weight, kept = frozen[name], frozen[name].clone()
        with torch.no_grad():
            weight.add_(0.5)
            changes = not _frozen(harness, model, inputs).equal(features)
            require(not changes or component.cache_key != key, f"does not change with the frozen weight {name}")
            weight.copy_(kept)
    with torch.no_grad():
        for weight in component.parameters():
            if weight.requires_grad:
                weight.add_(0.5)
    require(component.cache_key == key, "changes with trained weights, so that cached features would never be found")
    return ", ".join(["weights", *tried])


def _frozen_floats(component: Any) -> Mapping[str, Tensor]:
    trained = {name for name, weight in component.named_parameters() if weight.requires_grad}
    state = component.state_dict(keep_vars=True)
    return {name: value for name, value in state.items() if name not in trained and value.is_floating_point()}


def _differs(harness: Harness, field: str, other: Harness, key: str | None, features: Tensor) -> bool:
    """Whether another value of an option changes the features; False if it cannot be built."""
    try:
        model = other.build()
    except VsrError:
        return False
    given = _frozen(other, model, _inputs(other, model))
    same = given.shape == features.shape and given.equal(features)
    require(same or key is None or other.component(model).cache_key != key, f"does not change with the option {field}")
    return not same


def _varied(harness: Harness) -> Iterator[tuple[str, Harness]]:
    """Yield the harness with another value for each option that was not set."""
    choice = harness.config.parts[harness.section]
    for field, options in _variations(choice.options):
        parts = {**harness.config.parts, harness.section: Choice(choice.provided, options)}
        yield field, replace(harness, config=replace(harness.config, parts=parts))


def _variations(options: Options) -> Iterator[tuple[str, Options]]:
    kind = type(options)
    for field, facts in kind.model_fields.items():
        if field in options.model_fields_set:
            continue  # other weights may not be available
        value = getattr(options, field)
        for other in _others(facts.annotation, value):
            try:
                varied = kind.model_validate({**options.model_dump(), field: other})
            except ValidationError:
                continue
            if varied != options:
                yield field, varied
                break


def _others(annotation: Any, value: object) -> Iterator[object]:
    """Yield other values of a type."""
    if get_origin(annotation) in (Union, UnionType):
        for kind in get_args(annotation):
            yield from _others(kind, value)
    elif get_origin(annotation) is Literal:
        yield from (other for other in get_args(annotation) if other != value)
    elif annotation is bool:
        yield not value
    elif annotation is int:
        number = value if isinstance(value, int) else 0
        yield from (number + 1, 2 * number, number - 1)
    elif annotation is float and isinstance(value, float):
        yield from (value + 0.5, value / 2)


@torch.no_grad()
def frozen_half_can_wait(harness: Harness) -> str | None:
    """Build the encoder without its frozen half, as training with cached features does, and compare it."""
    choice, size = harness.config.parts[harness.section], SIZES[0]
    source = frozen_source(choice.provided, choice.options)
    model = harness.build()
    if source is None or harness.component(model).cache_key is None:
        return "it is built whole"
    shape = tuple(_frozen(harness, model, _inputs(harness, model)).shape[1:])
    context = BuildContext(width=size.width, steps=size.steps, image_size=size.image_size, training_texts=list, seed=1)
    whole = _build_seeded(choice, context)
    with TemporaryDirectory() as folder:
        assets = Path(folder, "assets")
        assets.mkdir()
        half = save_half(whole, Path(folder), shape=shape)
        whole.save_assets(assets)
        later = _build_seeded(choice, replace(context, assets=assets, frozen_half=half))
        require(later.pending is not None, "builds its frozen half at once, although frozen_half is given")
        trained = {name: weight for name, weight in whole.named_parameters() if weight.requires_grad}
        mine = dict(later.named_parameters())
        require(mine.keys() == trained.keys(), "has other trained parameters without its frozen half")
        require(all(mine[name].equal(trained[name]) for name in mine), "trained weights depend on the frozen half")
        require(later.cache_key == whole.cache_key, "has another cache_key without its frozen half")
        inputs = _inputs(harness, model).tensors
        require(later.frozen(*inputs).equal(whole.frozen(*inputs)), "other features by the half that is built later")
        require(later.pending is None, "is still pending after frozen was called")
    return None


def _build_seeded(choice: Choice, context: BuildContext) -> Any:
    torch.manual_seed(0)
    return build(choice.provided, choice.options, context).eval()


def many_are_as_few(harness: Harness) -> str | None:
    """Compute features as `vsr prepare` does for many inputs, and once more after it."""
    model = harness.build()
    component, inputs = harness.component(model), _inputs(harness, model)
    prepares: bool = isinstance(component, EncodesMany)
    if not prepares:
        return "it has no encoding_many"
    if component.cache_key is None:
        return "nothing is frozen"
    key, names, few = component.cache_key, list(component.state_dict()), _frozen(harness, model, inputs)
    with component.encoding_many():
        many = _frozen(harness, model, inputs)
        require(component.cache_key == key, "has another cache_key within encoding_many")
    require(few.shape == many.shape and near(few, many), "other features within encoding_many, by more than rounding")
    require(few.equal(_frozen(harness, model, inputs)), "encoding_many changes the features after it")
    require(list(component.state_dict()) == names, "encoding_many leaves other weights behind")
    return None


CHECKS: tuple[Check[Harness], ...] = (
    ("frozen is deterministic and independent of the batch", frozen_is_a_function),
    ("cache_key changes with everything that frozen depends on", key_is_complete),
    ("can be built without its frozen half, if it declares that", frozen_half_can_wait),
    ("encodes many inputs as it encodes few", many_are_as_few),
)
TEXT_CHECKS: tuple[Check[Harness], ...] = (
    ("tokenizes any text within its vocabulary", tokenizes),
    ("ignores padding", ignores_padding),
)
