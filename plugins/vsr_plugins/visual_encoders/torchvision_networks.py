"""Visual encoders `resnet50`, `mobilenet_v2` and `torchvision`: classifiers of torchvision.

torchvision is imported when a network is built: that takes two seconds, and training with cached features needs none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import redirect_stdout
from difflib import get_close_matches
from functools import partial
from io import StringIO
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from vsr_cli.api import BuildContext, VsrError, one_line

from . import ImagenetOptions, TorchvisionOptions, VisualOptions
from .preprocessing import Preprocessing
from .pretrained import PretrainedEncoder
from .weights import UNREADABLE, fill, read_weights

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

CLASSES = 1000
"""Classes of ImageNet, the outputs of the last layer."""
DEFAULT = {"default": "DEFAULT", "imagenet": "DEFAULT"}
"""Our names of torchvision's default weights."""
UNOFFERED = "mnasnet"
"""Not supported: it refuses a state dict without torchvision's version metadata, which a run does not save."""
AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
"""Auxiliary classifiers, used in the training of GoogLeNet and Inception only."""
INCEPTION = {"aux_logits": False, "init_weights": False, "transform_input": True}
"""Arguments of those two for their published weights, which use another normalization."""
OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")
"""Old names in DenseNet's published weights."""


def build_resnet50(options: ImagenetOptions, context: BuildContext) -> PretrainedEncoder:
    """Build ResNet-50 (He et al., 2016), as `build` does."""
    return build_classifier("resnet50", options.weights, options=options, context=context)


def build_mobilenet_v2(options: ImagenetOptions, context: BuildContext) -> PretrainedEncoder:
    """Build MobileNetV2 (Sandler et al., 2018), as `build` does."""
    return build_classifier("mobilenet_v2", options.weights, options=options, context=context)


def build(options: TorchvisionOptions, context: BuildContext) -> PretrainedEncoder:
    """Build a network with the chosen weights, or without weights for a saved run.

    Raises VsrError if torchvision has no such network, or if loading the weights fails.
    """
    if context.assets is not None:  # it was built before
        return build_classifier(options.architecture, options.weights, options=options, context=context)
    from torchvision import models

    offered = [name for name in models.list_models(module=models) if not name.startswith(UNOFFERED)]
    if options.architecture not in offered:
        near = get_close_matches(options.architecture, offered, n=3) or offered
        raise VsrError(
            f"visual encoder torchvision: no such architecture (got {options.architecture}); "
            f"choose one such as {', '.join(near)} by --set visual.architecture=NAME"
        )
    return build_classifier(options.architecture, options.weights, options=options, context=context)


def build_classifier(
    architecture: str, weights: str, *, options: VisualOptions, context: BuildContext
) -> PretrainedEncoder:
    """Build torchvision's network of this name; see `build`."""
    preprocessing = Preprocessing.load(context.assets) or preprocessing_of(
        published_weights(architecture, weights) or published_weights(architecture, "DEFAULT"), crop=options.crop
    )
    read = weights if context.assets is None and weights != "random" else None
    return PretrainedEncoder(
        partial(make_network, architecture, size=preprocessing.size, weights=read),
        preprocessing,
        structure={"network": architecture},
        options=options,
        context=context,
    )


def published_weights(architecture: str, name: str) -> WeightsEnum | None:
    """Return torchvision's weights of this name, None if it has none."""
    from torchvision import models

    published = models.get_model_weights(architecture)
    chosen = DEFAULT.get(name, name)
    return published[chosen] if chosen in (*(each.name for each in published), "DEFAULT") else None


def make_network(architecture: str, *, size: int, weights: str | None) -> nn.Module:
    """Build a network without its classifier, with published weights, those of a file, or random ones (None)."""
    from torchvision import models

    structure: dict[str, Any] = INCEPTION if architecture in ("googlenet", "inception_v3") else {}
    if architecture.startswith("vit_"):
        structure = {"image_size": size}  # for its position embeddings
    network: nn.Module = models.get_model(architecture, weights=None, **structure)
    classifier = without_classifier(network)
    if weights is not None:
        entry = published_weights(architecture, weights)
        names = [each.name for each in models.get_model_weights(architecture)]
        tensors = download(entry) if entry else read_weights(Path(weights), names=["default", *names])
        fill(
            network,
            {OLD_DENSENET.sub(r"\1\2", name): tensor for name, tensor in tensors.items()},
            source=weights,
            owner=f"torchvision's {architecture}",
            aside=(classifier, *AUXILIARY),
        )
    return network


def preprocessing_of(entry: WeightsEnum | None, *, crop: bool) -> Preprocessing:
    """Return the preprocessing of published weights."""
    assert entry is not None, "every network has default weights"
    theirs = entry.transforms()
    (size,), (resize,) = theirs.crop_size, theirs.resize_size
    return Preprocessing(
        size=size,
        resize=resize if crop else size,
        mean=tuple(theirs.mean),
        std=tuple(theirs.std),
        interpolation=theirs.interpolation.value,
    )


def without_classifier(network: nn.Module) -> str:
    """Remove the last layer with one output per class, and return the prefix of its parameter names.

    The rest of the head stays: normalization, hidden layer, pooling.
    """
    *_, (name, _) = (
        (name, module)
        for name, module in network.named_modules()
        if CLASSES in (getattr(module, "out_features", None), getattr(module, "out_channels", None))
    )
    parent, _, own = name.rpartition(".")
    setattr(network.get_submodule(parent), own, nn.Identity())
    return f"{name}."


def download(published: WeightsEnum) -> Mapping[str, Tensor]:
    """Return published weights, from torchvision's cache or the network. Raises VsrError."""
    url: str = published.url
    cached = Path(torch.hub.get_dir()) / "checkpoints" / PurePosixPath(url).name
    try:
        # torch reports a download on stdout, which is for results only.
        with redirect_stdout(StringIO()):
            tensors: Mapping[str, Tensor] = published.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except UNREADABLE as error:
        raise VsrError(
            f"visual encoder: cannot load the ImageNet weights {url} ({one_line(error)}); "
            f"put that file at {cached}, name a local file by --set visual.weights=PATH, "
            "or use random weights by --set visual.weights=random"
        ) from error
    return tensors
