"""Low-rank updates of a pretrained model's linear layers, by the library peft."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from vsr_cli.api import VsrError


def add_lora(model: Any, *, rank: int, dropout: float, component: str, exclude: Sequence[str] = ()) -> None:
    """Add trained low-rank updates to every linear layer of a frozen model, in place, except those named in `exclude`.

    A layer of a class derived from a linear one, such as a router of experts, may return something else and has none.
    Hu et al. (2022), "LoRA: Low-Rank Adaptation of Large Language Models", with a scale of 1. The updates are in single
    precision whatever the model is in, since small steps are lost in half. `component` is its kind and name. Raises
    VsrError, naming it, if peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
        from peft.tuners.lora import LoraLayer
    except ImportError as error:
        option = "_".join(component.split()[:2]) + ".trained"
        raise VsrError(
            f"{component}: {option}=lora needs peft, which is not installed; pip install peft, or choose another "
            f"--set {option}=..."
        ) from error
    derived = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and type(module) is not nn.Linear
    ]
    config = LoraConfig(
        r=rank,
        lora_alpha=rank,
        lora_dropout=dropout,
        target_modules="all-linear",
        exclude_modules=[*exclude, *derived] or None,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about GPT-2's transposed weights, which peft handles
        inject_adapter_in_model(config, model)
    for layer in model.modules():
        if isinstance(layer, LoraLayer):
            for name in layer.adapter_layer_names:
                getattr(layer, name).float()


def fold_lora(model: Any) -> None:
    """Add the low-rank updates of `add_lora` to the weights and drop them, in place.

    Updates of weights in half precision stay as they are: in a sum of that precision, small ones would be lost.
    """
    from peft.tuners.lora import LoraLayer

    for name, layer in list(model.named_modules()):
        if isinstance(layer, LoraLayer) and layer.get_base_layer().weight.dtype == torch.float32:
            layer.merge()
            model.set_submodule(name, layer.get_base_layer())
