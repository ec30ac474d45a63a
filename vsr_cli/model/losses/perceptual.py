"""The loss term `perceptual`: the distance of the generated image from the true one in a frozen network's features."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision import models
from torchvision.models.feature_extraction import create_feature_extractor

from ...api import read_tensors
from ...errors import VsrError
from .term import ForwardPass, LossTerm, TermRequest

LAYERS = {
    "vgg16": ("features.3", "features.8", "features.15", "features.22"),
    "resnet50": ("relu", "layer1", "layer2", "layer3"),
    "mobilenet_v2": ("features.1", "features.3", "features.6", "features.13"),
}
"""Of each network the last layers before its resolution is halved, the coarsest left out. VGG's are the four of Johnson
et al. (2016), section 4."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's colours, as all three networks expect them."""


class Perceptual(LossTerm):
    """The squared distance of unit feature vectors, the mean over places and then over layers.

    Zhang et al. (2018), "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", equation 1 with all
    channels of equal weight.
    """

    compares_images = True
    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.requires_grad_(False).eval()
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1), persistent=False)

    def train(self, mode: bool = True) -> Perceptual:
        """Set the training mode; the frozen network stays in eval mode, with its running statistics."""
        super().train(mode)
        self.network.eval()
        return self

    def forward(self, outputs: ForwardPass) -> Tensor:
        """Return the mean distance over windows, a scalar."""
        return self.distance(outputs.differentiable_image("perceptual"), outputs.target.image)

    def distance(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the mean distance of images (B, 3, H, W) in [0, 1], a scalar; gradients reach the first argument."""
        with torch.no_grad():
            target_maps = self.network((target - self.mean) / self.std)
        maps = self.network((prediction - self.mean) / self.std)
        distances = []
        for layer in target_maps:
            one, other = (functional.normalize(each[layer].float(), dim=1) for each in (maps, target_maps))
            distances.append((one - other).square().sum(dim=1).mean())  # (B, C, h, w) -> ()
        return torch.stack(distances).mean()


def build(request: TermRequest) -> Perceptual:
    """Build the term with the weights that the objective names, or without any for a stored run, which contains them.

    Raises VsrError if the weights cannot be read or are not the network's.
    """
    objective = request.objective
    network = models.get_model(objective.perceptual_network, weights=None)
    extractor = create_feature_extractor(network, return_nodes=list(LAYERS[objective.perceptual_network]))
    if request.read_weights:
        assert objective.perceptual_weights is not None, "the options check it"
        load_weights(extractor, Path(objective.perceptual_weights), network=objective.perceptual_network)
    return Perceptual(extractor)


def load_weights(extractor: nn.Module, path: Path, *, network: str) -> None:
    """Fill the lower layers of a network from a file of all its weights. Raises VsrError if it is not such a file."""
    remedy = f"give a file written from torchvision's {network} by --set objective.perceptual_weights=FILE"
    tensors = read_tensors(path, remedy=remedy)
    # A state dict with no record of its version may lack these counters, which nothing here reads.
    expected = {
        name: tensor.shape
        for name, tensor in extractor.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    unfit = [name for name, shape in expected.items() if getattr(tensors.get(name), "shape", None) != shape]
    if unfit:
        raise VsrError(
            f"{path}: not the weights of torchvision's {network} ({len(unfit)} tensors are missing or of another "
            f"shape, the first is {unfit[0]}); {remedy}"
        )
    extractor.load_state_dict({name: tensors[name] for name in expected}, strict=False)
