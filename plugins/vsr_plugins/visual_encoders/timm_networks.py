"""The models of the timm library, an optional dependency."""

from __future__ import annotations

import logging
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

from torch import nn

from vsr_cli.api import BuildContext, VsrError, one_line, quiet

from . import TimmOptions
from .preprocessing import Preprocessing
from .pretrained import PretrainedEncoder
from .weights import UNREADABLE, fill, read_weights


def build(options: TimmOptions, context: BuildContext) -> PretrainedEncoder:
    """Build a model on the chosen weights, or without any for a run that holds them.

    Raises VsrError if timm is not installed or has no such model, or the weights cannot be had or are not its own.
    """
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
            f"visual encoder timm: no such model ({options.model}); give one of timm's own names, such as "
            f"{', '.join(near)}, by --set visual.model=NAME"
        )
    network = create(options, pretrained=context.assets is None and options.weights == "pretrained")
    facts: dict[str, Any] = cast(Any, resolve_model_data_config)(network)
    preprocessing = Preprocessing.kept(context.assets) or preprocessing_of(facts, crop=options.crop)
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
    structure = {"network": f"timm:{options.model.partition('.')[0]}"}
    return PretrainedEncoder(network, preprocessing, structure=structure, options=options, context=context)


def create(options: TimmOptions, *, pretrained: bool) -> nn.Module:
    """Build timm's model without a classifier. Raises VsrError if its weights cannot be had."""
    import timm

    try:
        with quiet(below=logging.CRITICAL):
            network: nn.Module = timm.create_model(options.model, pretrained=pretrained, num_classes=0)
    except UNREADABLE as error:
        raise VsrError(
            f"visual encoder timm: cannot get {options.model} ({one_line(error)}); give a file of its weights by "
            "--set visual.weights=PATH, let HF_HOME name a cache that holds it, or take random weights on purpose by "
            "--set visual.weights=random"
        ) from error
    return network


def preprocessing_of(facts: dict[str, Any], *, crop: bool) -> Preprocessing:
    """Say what pixels a model was trained on, from timm's own account of it. Raises VsrError if they are no squares."""
    _, height, width = facts["input_size"]
    if height != width:
        raise VsrError(
            f"visual encoder timm: the model does not read squares ({width}x{height} pixels); take another model"
        )
    return Preprocessing(
        size=height,
        resize=int(height / facts["crop_pct"]) if crop else height,
        mean=tuple(facts["mean"]),
        std=tuple(facts["std"]),
        interpolation=facts["interpolation"],
    )
