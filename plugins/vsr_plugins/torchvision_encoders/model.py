"""Frozen ImageNet convolutions of torchvision as visual encoders."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from http.client import HTTPException
from pathlib import Path, PurePosixPath

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from torchvision import models
from torchvision.models import MobileNet_V2_Weights, ResNet50_Weights, WeightsEnum

from vsr_cli.api import BuildContext, VsrError, content_key

from . import TorchvisionOptions

UNREADABLE = (
    OSError,
    HTTPException,
    SafetensorError,
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
)
"""What a download that fails raises, and the readers of weights at bytes that hold none."""
SIZE = 224
"""Pixels a side that both networks were trained for."""
MEAN = (0.485, 0.456, 0.406)
"""ImageNet's mean colour, as both networks expect it (`ResNet50_Weights.IMAGENET1K_V2.transforms()`)."""
STD = (0.229, 0.224, 0.225)
"""The standard deviation that goes with it."""


class TorchvisionEncoder(nn.Module):
    """A frozen convolutional network without its classifier, and a linear layer over its pooled features."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, *, features: int, width: int) -> None:
        super().__init__()
        self.network = network.requires_grad_(False).eval()
        self.projection = nn.Linear(features, width)
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1), persistent=False)

    @property
    def cache_key(self) -> str:
        """Digest the frozen weights as they are now, and the preprocessing."""
        facts = {"size": SIZE, "resize": "bilinear-antialias", "mean": MEAN, "std": STD}
        return content_key(self.network.state_dict(), network=type(self.network).__name__, **facts)

    def train(self, mode: bool = True) -> TorchvisionEncoder:
        """Set the mode of what trains; the frozen network keeps to its running statistics."""
        super().train(mode)
        self.network.eval()
        return self

    def pixels(self, images: Tensor) -> Tensor:
        """Give (N, 3, 224, 224) in ImageNet's normalisation from images (N, 3, H, W) uint8."""
        resized = images.float()
        if images.shape[-2:] != (SIZE, SIZE):
            resized = functional.interpolate(
                resized, (SIZE, SIZE), mode="bilinear", antialias=True
            )  # (N, 3, H, W) -> (N, 3, 224, 224)
        return (resized / 255 - self.mean) / self.std

    @torch.no_grad()
    def frozen(self, pixels: Tensor) -> Tensor:
        """Give the pooled features (N, 2048 or 1280) of pixels (N, 3, 224, 224)."""
        # With a pixel's channels side by side, convolutions need no rearranging before and after each of them.
        features: Tensor = self.network(pixels.contiguous(memory_format=torch.channels_last))
        return features

    def forward(self, features: Tensor) -> Tensor:
        """Give (N, D) from the pooled features."""
        embedding: Tensor = self.projection(features)
        return embedding


def build_resnet50(options: TorchvisionOptions, context: BuildContext) -> TorchvisionEncoder:
    """Build ResNet-50 (He et al., 2016) on the chosen weights, or without any for a run that holds them."""
    network = models.resnet50(weights=None)
    network.fc = nn.Identity()
    if context.assets is None:
        load_weights(network, options.weights, published=ResNet50_Weights.IMAGENET1K_V2, classifier="fc.")
    return TorchvisionEncoder(network, features=2048, width=context.width)


def build_mobilenet_v2(options: TorchvisionOptions, context: BuildContext) -> TorchvisionEncoder:
    """Build MobileNetV2 (Sandler et al., 2018), as `build_resnet50` does."""
    network = models.mobilenet_v2(weights=None)
    network.classifier = nn.Identity()
    if context.assets is None:
        published = MobileNet_V2_Weights.IMAGENET1K_V2
        load_weights(network, options.weights, published=published, classifier="classifier.")
    return TorchvisionEncoder(network, features=1280, width=context.width)


def load_weights(network: nn.Module, choice: str, *, published: WeightsEnum, classifier: str) -> None:
    """Fill a network with 'imagenet' weights, those of a file, or leave it 'random'.

    Tensors whose names start with `classifier` are left aside. Raises VsrError if the weights cannot be had
    or are not this network's.
    """
    if choice == "random":
        return
    tensors = download(published) if choice == "imagenet" else read_weights(Path(choice))
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith(classifier)}
    # A state dict with no record of its version may lack these counters, which nothing here reads.
    counters = {name for name in network.state_dict() if name.endswith("num_batches_tracked")}
    expected = network.state_dict()
    missing = sorted(expected.keys() - counters - kept.keys())
    unexpected = sorted(kept.keys() - expected.keys())
    misshapen = sorted(name for name in expected.keys() & kept.keys() if expected[name].shape != kept[name].shape)
    for problem, names in (("lacks", missing), ("has unknown", unexpected), ("has misshapen", misshapen)):
        if names:
            raise VsrError(
                f"{choice}: not the weights of torchvision's {type(network).__name__} ({problem} "
                f"{len(names)} tensors, the first is {names[0]}); give a file written from that network's "
                "state_dict() by --set visual.weights=PATH"
            )
    network.load_state_dict(kept, strict=False)


def download(published: WeightsEnum) -> Mapping[str, Tensor]:
    """Give the weights that torchvision publishes, from its cache or the network; raises VsrError."""
    url: str = published.url
    cached = Path(torch.hub.get_dir()) / "checkpoints" / PurePosixPath(url).name
    try:
        # torch announces a download on stdout, which belongs to a command's results.
        with redirect_stdout(sys.stderr):
            tensors: Mapping[str, Tensor] = published.get_state_dict(
                progress=sys.stderr.isatty(), check_hash=True, weights_only=True
            )
    except UNREADABLE as error:
        raise VsrError(
            f"visual encoder: cannot get the ImageNet weights {url} ({one_line(error)}); "
            f"put that file at {cached}, or give a local one by --set visual.weights=PATH, "
            "or take random weights on purpose by --set visual.weights=random"
        ) from error
    return tensors


def read_weights(path: Path) -> Mapping[str, Tensor]:
    """Read a state dict from a .safetensors, .pt or .pth file, unpickling no code; raises VsrError."""
    remedy = "give 'imagenet', 'random' or a .safetensors, .pt or .pth file by --set visual.weights=..."
    if path.suffix not in (".safetensors", ".pt", ".pth") or not path.is_file():
        raise VsrError(f"visual encoder: no such weights ({path}); {remedy}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise VsrError(f"{path}: weights cannot be read ({one_line(error)}); {remedy}") from error
    if not isinstance(tensors, Mapping) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise VsrError(f"{path}: holds no state dict (names and tensors); {remedy}")
    return tensors


def one_line(error: Exception) -> str:
    """Give the first line of an error's message, or its kind where it has none."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
