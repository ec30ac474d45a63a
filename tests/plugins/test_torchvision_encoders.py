import socket
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from vsr_cli.api import BuildContext, VsrError
from vsr_plugins.torchvision_encoders import TorchvisionOptions
from vsr_plugins.torchvision_encoders import model as module
from vsr_plugins.torchvision_encoders.model import build_mobilenet_v2, build_resnet50

torch.set_num_threads(1)  # at these sizes a pool of threads costs more than it saves

REAL = Path(__file__).parents[3] / "shared" / "weights" / "mobilenet_v2.safetensors"
RANDOM = TorchvisionOptions(weights="random")


def context(width=16, assets=None) -> BuildContext:
    return BuildContext(width=width, steps=4, image_size=224, training_texts=list, assets=assets)


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise OSError("the network is blocked")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(0)
    return build_resnet50(RANDOM, context(32))


@pytest.fixture(scope="module")
def mobilenet():
    torch.manual_seed(0)
    return build_mobilenet_v2(RANDOM, context(32))


@pytest.fixture
def weights(mobilenet):
    """MobileNetV2's own names, the classifier's among them."""
    tensors = {name: tensor.clone() for name, tensor in mobilenet.network.state_dict().items()}
    return {**tensors, "classifier.1.weight": torch.zeros(1000, 1280), "classifier.1.bias": torch.zeros(1000)}


def images(count, size=224):
    random = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=random)


def test_resnet50_is_frozen_but_for_its_projection(resnet):
    # 23,508,032 is ResNet-50 less its classifier: 25,557,032 - (2048 * 1000 + 1000).
    assert sum(parameter.numel() for parameter in resnet.network.parameters()) == 23_508_032
    assert sum(isinstance(layer, nn.Conv2d) for layer in resnet.network.modules()) == 53
    trained = {name: tuple(p.shape) for name, p in resnet.named_parameters() if p.requires_grad}
    assert trained == {"projection.weight": (32, 2048), "projection.bias": (32,)}


def test_mobilenet_is_frozen_but_for_its_projection(mobilenet):
    # 2,223,872 is MobileNetV2 less its classifier: 3,504,872 - (1280 * 1000 + 1000).
    assert sum(parameter.numel() for parameter in mobilenet.network.parameters()) == 2_223_872
    assert sum(isinstance(layer, nn.Conv2d) for layer in mobilenet.network.modules()) == 52
    trained = {name: tuple(p.shape) for name, p in mobilenet.named_parameters() if p.requires_grad}
    assert trained == {"projection.weight": (32, 1280), "projection.bias": (32,)}


@pytest.mark.parametrize(("name", "features"), [("resnet", 2048), ("mobilenet", 1280)])
def test_shapes_and_gradients(name, features, request):
    encoder = request.getfixturevalue(name)
    frozen = encoder.frozen(encoder.pixels(images(2)))
    assert frozen.shape == (2, features)
    assert not frozen.requires_grad
    embedding = encoder(frozen)
    assert embedding.shape == (2, 32)
    encoder.zero_grad()
    embedding.square().sum().backward()
    for name, parameter in encoder.named_parameters():
        if name.startswith("projection"):
            assert parameter.grad.abs().sum() > 0
        else:
            assert parameter.grad is None


def test_pixels_are_in_imagenets_normalisation(mobilenet):
    black = mobilenet.pixels(torch.zeros(1, 3, 224, 224, dtype=torch.uint8))
    white = mobilenet.pixels(torch.full((1, 3, 224, 224), 255, dtype=torch.uint8))
    colours = torch.tensor([[-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225]])
    torch.testing.assert_close(black.mean((2, 3)), colours)
    torch.testing.assert_close((white - black).mean((2, 3)), 1 / torch.tensor([[0.229, 0.224, 0.225]]))


@pytest.mark.parametrize("size", [64, 128, 300])
def test_other_sizes_are_resized(mobilenet, size):
    flat = torch.full((1, 3, size, size), 77, dtype=torch.uint8)
    expected = mobilenet.pixels(torch.full((1, 3, 224, 224), 77, dtype=torch.uint8))
    torch.testing.assert_close(mobilenet.pixels(flat), expected, atol=1e-5, rtol=1e-5)


def test_training_leaves_the_frozen_network_as_it_was(mobilenet):
    before = {name: tensor.clone() for name, tensor in mobilenet.network.state_dict().items()}
    parent = nn.Sequential(mobilenet)
    parent.train()
    try:
        assert mobilenet.training
        assert not any(part.training for part in mobilenet.network.modules())
        pixels = mobilenet.pixels(images(2))
        torch.testing.assert_close(mobilenet.frozen(pixels), mobilenet.frozen(pixels), rtol=0, atol=0)
    finally:
        parent.eval()
    for name, tensor in mobilenet.network.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_frozen_does_not_depend_on_the_rest_of_the_batch(mobilenet):
    pixels = mobilenet.pixels(images(3))
    torch.testing.assert_close(mobilenet.frozen(pixels)[1:2], mobilenet.frozen(pixels[1:2]), rtol=1e-4, atol=1e-6)


def test_cache_key_follows_the_frozen_weights_and_the_preprocessing(mobilenet, resnet, monkeypatch):
    key = mobilenet.cache_key
    assert key == mobilenet.cache_key != resnet.cache_key
    with torch.no_grad():
        mobilenet.projection.weight.add_(1)
    assert mobilenet.cache_key == key
    statistics = mobilenet.network.features[0][1].running_mean
    before = statistics.clone()
    statistics.add_(1)
    assert mobilenet.cache_key != key
    statistics.copy_(before)
    monkeypatch.setattr(module, "SIZE", 192)
    assert mobilenet.cache_key != key


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
def test_weights_of_a_file(mobilenet, weights, tmp_path, suffix, no_network):
    path = tmp_path / f"weights{suffix}"
    save_file(weights, path) if suffix == ".safetensors" else torch.save(weights, path)
    encoder = build_mobilenet_v2(TorchvisionOptions(weights=str(path)), context())
    assert encoder.cache_key == mobilenet.cache_key
    pixels = encoder.pixels(images(1))
    assert torch.equal(encoder.frozen(pixels), mobilenet.frozen(pixels))


def test_weights_without_the_counters_of_old_files_are_taken(mobilenet, weights, tmp_path):
    path = tmp_path / "old.safetensors"
    save_file({name: t for name, t in weights.items() if not name.endswith("num_batches_tracked")}, path)
    encoder = build_mobilenet_v2(TorchvisionOptions(weights=str(path)), context())
    pixels = encoder.pixels(images(1))
    assert torch.equal(encoder.frozen(pixels), mobilenet.frozen(pixels))


@pytest.mark.parametrize(
    ("name", "tensor", "complaint"),
    [
        ("features.0.0.weight", None, "lacks 1 tensors, the first is features.0.0.weight"),
        ("layer9.weight", torch.zeros(2), "has unknown 1 tensors, the first is layer9.weight"),
        ("features.0.0.weight", torch.zeros(2), "has misshapen 1 tensors, the first is features.0.0.weight"),
    ],
)
def test_weights_of_another_network_are_refused(weights, tmp_path, name, tensor, complaint):
    path = tmp_path / "other.safetensors"
    weights[name] = tensor
    save_file({name: tensor for name, tensor in weights.items() if tensor is not None}, path)
    with pytest.raises(VsrError) as caught:
        build_mobilenet_v2(TorchvisionOptions(weights=str(path)), context())
    message = str(caught.value)
    assert str(path) in message
    assert complaint in message
    assert "--set visual.weights=" in message
    assert "\n" not in message


class Unpickled:
    def __reduce__(self):
        return (Path.touch, (Path("unpickled"),))


@pytest.mark.parametrize("kind", ["missing", "folder", "text", "garbage.pt", "garbage.safetensors", "code", "list"])
def test_files_that_hold_no_weights_are_refused(tmp_path, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / {"code": "code.pt", "list": "list.pt", "folder": "."}.get(kind, kind)
    if kind.startswith(("garbage", "text")):
        path.write_bytes(b"these are no weights")
    elif kind == "code":
        torch.save({"features.0.0.weight": Unpickled()}, path)
    elif kind == "list":
        torch.save([torch.zeros(2)], path)
    with pytest.raises(VsrError) as caught:
        build_mobilenet_v2(TorchvisionOptions(weights=str(path)), context())
    assert str(path) in str(caught.value)
    assert "--set visual.weights=" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not Path("unpickled").exists()


@pytest.mark.parametrize(
    ("build", "file"),
    [(build_resnet50, "resnet50-11ad3fa6.pth"), (build_mobilenet_v2, "mobilenet_v2-7ebf99e0.pth")],
)
def test_a_download_that_fails_names_the_remedies(build, file, tmp_path, monkeypatch, no_network):
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    with pytest.raises(VsrError) as caught:
        build(TorchvisionOptions(), context())
    message = str(caught.value)
    assert str(tmp_path / "checkpoints" / file) in message
    assert "--set visual.weights=PATH" in message
    assert "--set visual.weights=random" in message
    assert "\n" not in message


def test_a_run_is_read_back_without_weights_or_network(mobilenet, tmp_path, no_network):
    torch.manual_seed(1)  # other weights than the fixture's
    again = build_mobilenet_v2(TorchvisionOptions(weights="/gone.pt"), context(32, tmp_path))
    assert again.cache_key != mobilenet.cache_key
    again.load_state_dict(mobilenet.state_dict())
    assert again.cache_key == mobilenet.cache_key
    pixels = again.pixels(images(1))
    assert torch.equal(again(again.frozen(pixels)), mobilenet(mobilenet.frozen(pixels)))


@pytest.mark.skipif(not REAL.exists(), reason="needs the real weights of MobileNetV2")
def test_real_weights_give_the_features_below_torchvisions_classifier():
    from torchvision.models import mobilenet_v2

    encoder = build_mobilenet_v2(TorchvisionOptions(weights=str(REAL)), context())
    theirs = mobilenet_v2()
    theirs.load_state_dict(load_file(REAL))
    theirs.eval()
    pixels = encoder.pixels(images(2))
    with torch.no_grad():
        torch.testing.assert_close(theirs.classifier(encoder.frozen(pixels)), theirs(pixels))
