"""Folding of batch normalization: the same features to rounding, and the weights of the encoder as they were."""

import pytest
import torch
from torch import nn

from vsr_cli.api import BuildContext
from vsr_plugins.visual_encoders import ImagenetOptions
from vsr_plugins.visual_encoders.folding import folded
from vsr_plugins.visual_encoders.torchvision_networks import build_mobilenet_v2


def normalization():
    made = nn.BatchNorm2d(8)
    nn.init.uniform_(made.running_mean)
    nn.init.uniform_(made.running_var, 0.5, 2)
    nn.init.uniform_(made.weight)
    return made


class ReadTwice(nn.Module):
    """The output of the convolution is read by the normalization and beside it."""

    def __init__(self):
        super().__init__()
        self.convolution, self.normalization = nn.Conv2d(3, 8, 3), normalization()

    def forward(self, pixels):
        maps = self.convolution(pixels)
        return self.normalization(maps) + maps


def test_normalization_becomes_part_of_the_convolution():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), normalization(), nn.ReLU(), nn.Conv2d(8, 8, 1)).eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    pixels = torch.rand(4, 3, 9, 9)
    with torch.autocast("cpu", torch.bfloat16):  # in which features may be computed
        made = folded(network, pixels[:2])
    assert not any(isinstance(module, nn.BatchNorm2d) for module in made.modules())
    assert torch.allclose(made(pixels), network(pixels), rtol=1e-5, atol=1e-6)
    assert all(tensor.equal(before[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("network", [ReadTwice(), nn.Sequential(normalization(), nn.Conv2d(8, 8, 1)), nn.ReLU()])
def test_network_that_cannot_be_folded_stays(network):
    pixels = torch.rand(2, 8 if isinstance(network, nn.Sequential) else 3, 9, 9)
    assert folded(network.eval(), pixels) is network


@pytest.mark.parametrize("style", [False, True])
def test_encoder_folds_only_for_many_images_and_forgets_it_with_its_weights(style):
    context = BuildContext(width=8, image_size=32, steps=4, training_texts=tuple)
    encoder = build_mobilenet_v2(ImagenetOptions(weights="random", style=style), context).eval()
    names, key = list(encoder.state_dict()), encoder.cache_key
    pixels = encoder.pixels(torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8))
    first = encoder.frozen(pixels)
    with encoder.encoding_many():
        later = encoder.frozen(pixels)
        assert encoder._folded[0] is not encoder.network
    assert encoder.frozen(pixels).equal(first)
    assert (later - first).abs().max() < 1e-4 * first.abs().max()
    assert (list(encoder.state_dict()), encoder.cache_key) == (names, key)
    encoder.load_state_dict({name: 0 * tensor for name, tensor in encoder.state_dict().items()})
    with encoder.encoding_many():
        assert not encoder.frozen(pixels).any()
