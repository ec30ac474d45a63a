"""Requirements of the pretrained visual encoders: weights and libraries. And what their frozen halves are made from."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from vsr_cli.api import (
    FrozenSource,
    Requirement,
    local_files,
    missing_download,
    missing_file,
    missing_model,
    missing_package,
)

from . import HfVisionOptions, ImagenetOptions, TimmOptions, TorchvisionOptions

SITE = "https://download.pytorch.org/models/"
DEFAULTS = {
    "resnet50": ("resnet50-11ad3fa6.pth", 102_540_000),
    "mobilenet_v2": ("mobilenet_v2-7ebf99e0.pth", 14_258_000),
}
"""Files and approximate sizes in bytes of torchvision's default weights, known without importing torch."""
PUBLISHED = {"default": "DEFAULT", "imagenet": "DEFAULT"}
"""Our names of torchvision's default weights."""
LOCAL = "name a local file by --set visual.weights=FILE, or use random weights by --set visual.weights=random"


def resnet50(options: ImagenetOptions) -> list[Requirement]:
    """Return the weights of ResNet-50 if they are missing."""
    return _default_of("resnet50", options.weights)


def mobilenet_v2(options: ImagenetOptions) -> list[Requirement]:
    """Return the weights of MobileNetV2 if they are missing."""
    return _default_of("mobilenet_v2", options.weights)


def torchvision(options: TorchvisionOptions) -> list[Requirement]:
    """Return the weights of a torchvision network if they are missing; none for an unknown network."""
    return _of_torchvision(options.architecture, options.weights)


def timm(options: TimmOptions) -> list[Requirement]:
    """Return the library or the weights of its model if they are missing; none for an unknown model."""
    if lacking := missing_package("timm", extra="timm"):
        return lacking
    import timm

    if options.weights not in ("pretrained", "random"):
        return missing_file(options.weights, what="the weights", remedy=LOCAL)
    configuration: Any = timm.get_pretrained_cfg(options.model) if timm.is_model(options.model) else None
    hub_id = getattr(configuration, "hf_hub_id", None)
    if options.weights == "random" or not hub_id or getattr(configuration, "file", None):
        return []
    found = missing_model(hub_id, option="visual.model", files=["model.safetensors"])
    return [
        Requirement(what=each.what, remedy=LOCAL, problem=each.problem, size=each.size, fetch=each.fetch)
        for each in found
    ]


def hf_vision(options: HfVisionOptions) -> list[Requirement]:
    """Return the missing files of the model; for random weights, only its configuration."""
    files = ["config", "preprocessor", *(["weights"] if options.weights == "pretrained" else [])]
    return missing_model(options.model, option="visual.model", files=files)


def source_of_resnet50(options: ImagenetOptions) -> FrozenSource | None:
    """Return the source of the frozen ResNet-50."""
    return _source_of_file(options, default=DEFAULTS["resnet50"][0], packages=["torchvision"])


def source_of_mobilenet_v2(options: ImagenetOptions) -> FrozenSource | None:
    """Return the source of the frozen MobileNetV2."""
    return _source_of_file(options, default=DEFAULTS["mobilenet_v2"][0], packages=["torchvision"])


def source_of_torchvision(options: TorchvisionOptions) -> FrozenSource | None:
    """Return the source of a network of torchvision; None if only torchvision knows the name of its file."""
    return _source_of_file(options, packages=["torchvision"])


def source_of_timm(options: TimmOptions) -> FrozenSource | None:
    """Return the source of a model of timm; None if only timm knows the name of its file."""
    return _source_of_file(options, packages=["timm"])


def _source_of_file(
    options: ImagenetOptions | TorchvisionOptions | TimmOptions, *, packages: Sequence[str], default: str | None = None
) -> FrozenSource | None:
    """Return the source of a network with random weights, with those of a file, or with torchvision's `default`."""
    if options.frozen == "none":
        return None
    if options.weights == "random":
        return FrozenSource(packages=packages, random=True)
    file = (
        hub_folder() / "checkpoints" / default if default and options.weights == "imagenet" else Path(options.weights)
    )
    return FrozenSource(files=[file], packages=packages) if file.is_file() else None


def source_of_hf_vision(options: HfVisionOptions) -> FrozenSource | None:
    """Return the source of a model of transformers: all files of its folder."""
    files = local_files(options.model)
    if options.frozen == "none" or files is None:
        return None
    return FrozenSource(files=files, packages=["transformers", "torchvision"], random=options.weights == "random")


def _default_of(architecture: str, weights: str) -> list[Requirement]:
    if weights == "random":
        return []
    if weights != "imagenet":
        return [] if Path(weights).is_file() else _of_torchvision(architecture, weights)
    name, size = DEFAULTS[architecture]
    return _missing(f"{SITE}{name}", size)


def _of_torchvision(architecture: str, weights: str) -> list[Requirement]:
    if weights == "random":
        return []
    from torchvision import models

    if architecture not in models.list_models(module=models):
        return []  # building it reports that
    published = models.get_model_weights(architecture)
    chosen = PUBLISHED.get(weights, weights)
    if chosen != "DEFAULT" and chosen not in published.__members__:
        return missing_file(weights, what="the weights", remedy=LOCAL)
    entry: Any = published[chosen]
    return _missing(entry.url, int(entry.meta.get("_file_size", 0) * 2**20))


def _missing(url: str, size: int) -> list[Requirement]:
    name = PurePosixPath(url).name
    digest = re.search(r"-([a-f0-9]{8,})\.", name)
    what = f"the ImageNet weights {name}"
    path = hub_folder() / "checkpoints" / name
    return missing_download(url, path, what=what, remedy=LOCAL, size=size, sha256=digest[1] if digest else "")


def hub_folder() -> Path:
    """Return the download folder of torch.hub."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.environ.get("TORCH_HOME", f"{cache}/torch"), "hub").expanduser()
