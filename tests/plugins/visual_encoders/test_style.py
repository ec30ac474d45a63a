import pytest
import torch
from torch import nn
from torchvision import models

from vsr_cli.api import BuildContext, VsrError
from vsr_plugins.visual_encoders import ImagenetOptions, TorchvisionOptions
from vsr_plugins.visual_encoders.style import WithStyle, levels_of
from vsr_plugins.visual_encoders.torchvision_networks import build, build_mobilenet_v2

torch.set_num_threads(1)  # at these sizes a pool of threads costs more than it saves

CONTEXT = BuildContext(width=16, steps=4, image_size=64, training_texts=list)


class Painted(nn.Module):
    """Two levels, 4 channels at half the size and 6 at a quarter, and a vector of the last."""

    def __init__(self):
        super().__init__()
        self.fine = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU(inplace=True))
        self.coarse = nn.Conv2d(4, 6, 3, stride=2, padding=1)

    def forward(self, pixels):
        fine = self.fine(pixels)
        vector = self.coarse(fine).mean((2, 3))
        fine.zero_()  # as a layer that works in place would
        return vector


@pytest.mark.parametrize(
    ("name", "levels"),
    [
        ("mobilenet_v2", ["features.1", "features.3", "features.6", "features.13", "features"]),
        ("resnet18", ["relu", "layer1", "layer2", "layer3", "layer4"]),
        ("convnext_tiny", ["features.1", "features.3", "features.5", "features"]),
    ],
)
def test_level_is_the_last_map_of_a_resolution(name, levels):
    assert levels_of(models.get_model(name, weights=None).eval(), 64) == levels


def test_style_appends_mean_and_deviation_of_feature_maps():
    torch.manual_seed(0)
    network = Painted().eval()
    pixels = torch.randn(5, 3, 16, 16)
    given = WithStyle(network, size=16)(pixels)
    assert given.shape == (5, 4 + 4 + 6)
    fine = network.fine(pixels)
    for part, expected in zip(given.split([4, 4, 6], dim=1), (fine.mean((2, 3)), fine.std((2, 3)), None), strict=True):
        torch.testing.assert_close(part.square().sum(1), torch.full((5,), 14 / 3), rtol=0.01, atol=0)
        if expected is not None:
            normal = nn.functional.layer_norm(expected, (4,))
            torch.testing.assert_close(nn.functional.cosine_similarity(part, normal), torch.ones(5), rtol=0, atol=1e-3)


def test_style_keeps_the_vector_and_changes_the_cache_key():
    torch.manual_seed(0)
    encoder = build_mobilenet_v2(ImagenetOptions(weights="random", style=True), CONTEXT)
    plain = build_mobilenet_v2(ImagenetOptions(weights="random"), CONTEXT)
    plain.network.load_state_dict(encoder.network.network.state_dict())
    assert encoder.projection.in_features == 1280 + 2 * (16 + 24 + 32 + 96)
    assert encoder.cache_key != plain.cache_key
    with_style = encoder.frozen(encoder.pixels(torch.zeros(1, 3, 64, 64, dtype=torch.uint8)))
    assert with_style.shape == (1, 1616)
    own = with_style[:, -1280:]
    alone = nn.functional.layer_norm(plain.frozen(plain.pixels(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))), (1280,))
    torch.testing.assert_close(nn.functional.cosine_similarity(own, alone), torch.ones(1), rtol=0, atol=1e-4)


def test_uniform_image_has_a_finite_gradient():
    torch.manual_seed(0)
    encoder = build_mobilenet_v2(ImagenetOptions(weights="random", style=True, frozen="none"), CONTEXT)
    encoder(encoder.pixels(torch.full((2, 3, 64, 64), 90, dtype=torch.uint8))).square().sum().backward()
    gradients = [parameter.grad for parameter in encoder.parameters() if parameter.requires_grad]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


def test_network_without_feature_maps_is_refused():
    with pytest.raises(
        VsrError, match=r"VisionTransformer has no feature maps of several resolutions.*leave visual\.style"
    ):
        build(TorchvisionOptions(architecture="vit_b_16", weights="random", style=True), CONTEXT)
