"""What an encoder promises: above all that its frozen half can be kept, by a key that tells all it depends on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import torch
from pydantic import ValidationError
from torch import Tensor

from ..api import Options
from ..config.resolve import Choice
from ..errors import VsrError
from ..model.story_model import StoryModel
from .harness import SIZES, Bench, near, tokens, told
from .outcomes import Check, demand
from .stories import tell_stories

TEXTS = ("Mara opens the box.", "", "It rains, " * 40, "a", "Ünïcode — “quoted” 😀")
WEIGHTS_TRIED = 3


def checks(bench: Bench) -> Iterator[Check]:
    """Yield the checks of a visual or a text encoder."""
    if bench.section == "text":
        yield "tokenizes any text within its vocabulary", lambda: tokenizes(bench)
        yield "padding changes nothing", lambda: ignores_padding(bench)
    yield "frozen gives the same for one input, always", lambda: frozen_is_a_function(bench)
    yield "cache_key tells apart what frozen gives", lambda: key_is_complete(bench)


@dataclass(frozen=True)
class Inputs:
    """What the frozen half reads: pixels, or ids and mask; N rows each."""

    tensors: tuple[Tensor, ...]

    def rows(self, chosen: slice) -> Inputs:
        """Return some of the rows."""
        return Inputs(tuple(tensor[chosen] for tensor in self.tensors))


def _inputs(bench: Bench, model: StoryModel) -> Inputs:
    if bench.section == "text":
        return Inputs(tokens(model.text.tokenize(TEXTS), len(TEXTS)))
    pictures = tell_stories(1, steps=4, image_size=SIZES[0].image_size).pictures[:2]
    return Inputs((model.visual.pixels(pictures),))


def _frozen(bench: Bench, model: StoryModel, inputs: Inputs) -> Tensor:
    features: Tensor = bench.part(model).frozen(*inputs.tensors)
    return features


def tokenizes(bench: Bench) -> str | None:
    """Tokenize ordinary and odd texts, by themselves and together."""
    model = bench.build()
    text, vocabulary = model.text, model.text.vocabulary
    ids, mask = tokens(text.tokenize(TEXTS), len(TEXTS))
    demand(int(ids.min()) >= 0 and int(ids.max()) < len(vocabulary), "gave ids that its vocabulary does not have")
    demand(bool((ids[~mask] == vocabulary.pad).all()), "filled texts up with another id than its vocabulary's pad")
    for row, one in enumerate(TEXTS):
        alone, real = tokens(text.tokenize([one]), 1)
        demand(alone.shape[1] == ids.shape[1], "gave another length for one text than for several; L is fixed")
        demand(alone[0].equal(ids[row]) and real[0].equal(mask[row]), f"read {one[:20]!r} differently among others")
    special = {vocabulary.pad, vocabulary.bos, vocabulary.eos}
    demand(all(0 <= token < len(vocabulary) for token in special), "its pad, bos or eos is not in its vocabulary")
    return f"L = {ids.shape[1]}, V = {len(vocabulary)}"


@torch.no_grad()
def ignores_padding(bench: Bench) -> str | None:
    """Put a real token where there is none."""
    model = bench.build()
    ids, mask = _inputs(bench, model).tensors
    changed = ids.where(mask, torch.full_like(ids, int(ids[0, 0])))
    one, other = (model.text(model.text.frozen(each, mask), mask) for each in (ids, changed))
    demand(near(one, other), "ids beyond the mask change the embedding; mask them")
    return None


def frozen_is_a_function(bench: Bench) -> str | None:
    """Ask for the same features again, in training, alone, and look for a gradient."""
    model = bench.build()
    part, inputs = bench.part(model), _inputs(bench, model)
    first = _frozen(bench, model, inputs)
    demand(first.equal(_frozen(bench, model, inputs)), "gave something else when asked again")
    if part.cache_key is None:
        demand(first.equal(inputs.tensors[0]), "cache_key is None, yet frozen gives something else than its input")
        return "nothing is frozen"
    demand(not first.requires_grad, "its result asks for a gradient; compute it under torch.no_grad()")
    model.train()
    demand(first.equal(_frozen(bench, model, inputs)), "gave something else in training; keep what is frozen in eval()")
    demand(first.equal(_frozen(bench, model.eval(), inputs)), "training mode changed it for good; override train()")
    for row in range(len(first)):
        alone = _frozen(bench, model, inputs.rows(slice(row, row + 1)))
        demand(near(alone, first[row : row + 1]), "gave something else for an input by itself")
    return f"{told(first[0])} each"


def key_is_complete(bench: Bench) -> str | None:
    """Change weights and options: where that changes the features, it must change the key."""
    model = bench.build()
    part, inputs = bench.part(model), _inputs(bench, model)
    key, features = part.cache_key, _frozen(bench, model, inputs)
    demand(bench.part(bench.build()).cache_key == key, "another build from equal weights has another key")
    tried = [f"option {field}" for field, other in _varied(bench) if _told_apart(bench, field, other, key, features)]
    if key is None:
        return "nothing is frozen"
    frozen = _frozen_floats(part)
    for name in list(frozen)[:: max(1, len(frozen) // WEIGHTS_TRIED)]:
        weight, kept = frozen[name], frozen[name].clone()
        with torch.no_grad():
            weight.add_(0.5)
            changes = not _frozen(bench, model, inputs).equal(features)
            demand(not changes or part.cache_key != key, f"does not change with the frozen weight {name}")
            weight.copy_(kept)
    with torch.no_grad():
        for weight in part.parameters():
            if weight.requires_grad:
                weight.add_(0.5)
    demand(part.cache_key == key, "changes with weights that train: nothing kept would ever be found again")
    return ", ".join(["weights", *tried])


def _frozen_floats(part: Any) -> Mapping[str, Tensor]:
    trained = {name for name, weight in part.named_parameters() if weight.requires_grad}
    state = part.state_dict(keep_vars=True)
    return {name: value for name, value in state.items() if name not in trained and value.is_floating_point()}


def _told_apart(bench: Bench, field: str, other: Bench, key: str | None, features: Tensor) -> bool:
    """Compare with the encoder built with another value of one option; False if it cannot be built."""
    try:
        model = other.build()
    except VsrError:
        return False
    given = _frozen(other, model, _inputs(other, model))
    same = given.shape == features.shape and given.equal(features)
    demand(same or key is None or other.part(model).cache_key != key, f"does not change with the option {field}")
    return not same


def _varied(bench: Bench) -> Iterator[tuple[str, Bench]]:
    """Yield the bench with another value for each option that can have one, but those that were given."""
    choice = bench.config.parts[bench.section]
    for field, options in _variations(choice.options):
        parts = {**bench.config.parts, bench.section: Choice(choice.provided, options)}
        yield field, replace(bench, config=replace(bench.config, parts=parts))


def _variations(options: Options) -> Iterator[tuple[str, Options]]:
    kind = type(options)
    for field, facts in kind.model_fields.items():
        if field in options.model_fields_set:
            continue  # whoever set it may have had to: other weights may not be at hand
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
    """Yield values of a type that differ from one."""
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
