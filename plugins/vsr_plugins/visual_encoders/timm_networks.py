"""Visual encoder `timm`: models of the timm library, an optional dependency."""

from __future__ import annotations

import logging
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any, cast

from torch import nn

from vsr_cli.api import BuildContext, VsrError, one_line, own_random_numbers, quiet

from . import TimmOptions
from .preprocessing import Preprocessing
from .pretrained import PretrainedEncoder
from .weights import UNREADABLE, fill, read_weights


def build(options: TimmOptions, context: BuildContext) -> PretrainedEncoder:
    """Build a model with the chosen weights, or without weights for a saved run.

    Raises VsrError if timm is not installed or has no such model, or if loading the weights fails.
    """
    structure = {"network": f"timm:{options.model.partition('.')[0]}"}
    if context.assets is not None and (preprocessing := Preprocessing.load(context.assets)) is not None:
        make = partial(create, options, pretrained=False)
        return PretrainedEncoder(make, preprocessing, structure=structure, options=options, context=context)
    try:
        import timm
        from timm.data.config import resolve_model_data_config
    except ImportError as error:
        raise VsrError(
            f"visual encoder timm: the library is not installed ({one_line(error)}); pip install 'vsr-cli[timm]'"
        ) from error
    if not timm.is_model(options.model):
        near = get_close_matches(options.model.rpartition("/")[2], timm.list_models(), n=3) or ["resnet18"]
        raise VsrError(
            f"visual encoder timm: no such model (got {options.model}); choose a name of timm, such as "
            f"{', '.join(near)}, by --set visual.model=NAME"
        )
    with own_random_numbers(context.seed):
        network = create(options, pretrained=context.assets is None and options.weights == "pretrained")
    facts: dict[str, Any] = cast(Any, resolve_model_data_config)(network)
    preprocessing = preprocessing_of(facts, crop=options.crop)
    if context.assets is None and options.weights not in ("pretrained", "random"):
        named = cast(Any, network).pretrained_cfg.get("classifier") or ()
        classifiers = (named,) if isinstance(named, str) else tuple(named)
        fill(
            network,
            read_weights(Path(options.weights), names=["pretrained"]),
            source=options.weights,
            owner=f"timm's {options.model}",
            aside=tuple(f"{name}." for name in classifiers),
        )
    return PretrainedEncoder(lambda: network, preprocessing, structure=structure, options=options, context=context)


def create(options: TimmOptions, *, pretrained: bool) -> nn.Module:
    """Build timm's model without a classifier. Raises VsrError if loading its weights fails."""
    import timm

    try:
        with quiet(below=logging.CRITICAL):
            network: nn.Module = timm.create_model(options.model, pretrained=pretrained, num_classes=0)
    except UNREADABLE as error:
        raise VsrError(
            f"visual encoder timm: cannot load {options.model} ({one_line(error)}); name a file of its weights by "
            "--set visual.weights=PATH, set HF_HOME to a cache that has it, or use random weights by "
            "--set visual.weights=random"
        ) from error
    return network


def preprocessing_of(facts: dict[str, Any], *, crop: bool) -> Preprocessing:
    """Return the preprocessing from timm's configuration of a model. Raises VsrError if its input is not square."""
    _, height, width = facts["input_size"]
    if height != width:
        raise VsrError(
            f"visual encoder timm: the input of the model is not square ({width}x{height} pixels); choose another model"
        )
    return Preprocessing(
        size=height,
        resize=int(height / facts["crop_pct"]) if crop else height,
        mean=tuple(facts["mean"]),
        std=tuple(facts["std"]),
        interpolation=facts["interpolation"],
    )
