import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torchvision import models

from vsr_cli.api import BuildContext, HasAssets, VsrError
from vsr_cli.model.weights import load_model
from vsr_cli.plugin.discovery import registry
from vsr_plugins.visual_encoders import ImagenetOptions, TorchvisionOptions
from vsr_plugins.visual_encoders import torchvision_networks as module
from vsr_plugins.visual_encoders.torchvision_networks import build, build_mobilenet_v2, build_resnet50

torch.set_num_threads(1)  # at these sizes a pool of threads costs more than it saves

REAL = Path(__file__).parents[4] / "shared" / "weights" / "mobilenet_v2.safetensors"
RANDOM = ImagenetOptions(weights="random")


def context(width=16, assets=None) -> BuildContext:
    return BuildContext(width=width, steps=4, image_size=224, training_texts=list, assets=assets)


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


@pytest.mark.parametrize(
    ("build_named", "features", "weights", "convolutions"),
    [
        (build_resnet50, 2048, 25_557_032 - (2048 * 1000 + 1000), 53),  # without the classifier
        (build_mobilenet_v2, 1280, 3_504_872 - (1280 * 1000 + 1000), 52),
    ],
)
def test_only_the_projection_trains(build_named, features, weights, convolutions):
    encoder = build_named(RANDOM, context(32))
    assert sum(parameter.numel() for parameter in encoder.network.parameters()) == weights
    assert sum(isinstance(layer, nn.Conv2d) for layer in encoder.network.modules()) == convolutions
    trained = {name: tuple(p.shape) for name, p in encoder.named_parameters() if p.requires_grad}
    assert trained == {"projection.weight": (32, features), "projection.bias": (32,)}


def test_pixels_are_normalized_as_in_imagenet(mobilenet):
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


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
def test_weights_are_loaded_from_a_file(mobilenet, weights, tmp_path, suffix, no_network):
    path = tmp_path / f"weights{suffix}"
    save_file(weights, path) if suffix == ".safetensors" else torch.save(weights, path)
    encoder = build_mobilenet_v2(ImagenetOptions(weights=str(path)), context())
    assert encoder.cache_key == mobilenet.cache_key
    pixels = encoder.pixels(images(1))
    assert torch.equal(encoder.frozen(pixels), mobilenet.frozen(pixels))


def test_weights_without_batch_counters_are_accepted(mobilenet, weights, tmp_path):
    path = tmp_path / "old.safetensors"
    save_file({name: t for name, t in weights.items() if not name.endswith("num_batches_tracked")}, path)
    encoder = build_mobilenet_v2(ImagenetOptions(weights=str(path)), context())
    pixels = encoder.pixels(images(1))
    assert torch.equal(encoder.frozen(pixels), mobilenet.frozen(pixels))


@pytest.mark.parametrize(
    ("name", "tensor", "complaint"),
    [
        ("features.0.0.weight", None, "lacks 1 tensors, such as features.0.0.weight"),
        ("layer9.weight", torch.zeros(2), "has unknown 1 tensors, such as layer9.weight"),
        ("features.0.0.weight", torch.zeros(2), "has misshapen 1 tensors, such as features.0.0.weight"),
    ],
)
def test_weights_of_another_network_are_refused(weights, tmp_path, name, tensor, complaint):
    path = tmp_path / "other.safetensors"
    weights[name] = tensor
    save_file({name: tensor for name, tensor in weights.items() if tensor is not None}, path)
    with pytest.raises(VsrError) as caught:
        build_mobilenet_v2(ImagenetOptions(weights=str(path)), context())
    message = str(caught.value)
    assert str(path) in message
    assert complaint in message
    assert "--set visual.weights=" in message
    assert "\n" not in message


class Unpickled:
    def __reduce__(self):
        return (Path.touch, (Path("unpickled"),))


@pytest.mark.parametrize("kind", ["missing", "folder", "text", "garbage.pt", "garbage.safetensors", "code", "list"])
def test_files_without_weights_are_refused(tmp_path, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / {"code": "code.pt", "list": "list.pt", "folder": "."}.get(kind, kind)
    if kind.startswith(("garbage", "text")):
        path.write_bytes(b"these are no weights")
    elif kind == "code":
        torch.save({"features.0.0.weight": Unpickled()}, path)
    elif kind == "list":
        torch.save([torch.zeros(2)], path)
    with pytest.raises(VsrError) as caught:
        build_mobilenet_v2(ImagenetOptions(weights=str(path)), context())
    assert str(path) in str(caught.value)
    assert "--set visual.weights=" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not Path("unpickled").exists()


@pytest.mark.parametrize(
    ("build_named", "file"),
    [(build_resnet50, "resnet50-11ad3fa6.pth"), (build_mobilenet_v2, "mobilenet_v2-7ebf99e0.pth")],
)
def test_failed_download_names_the_remedies(build_named, file, tmp_path, monkeypatch, no_network):
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    with pytest.raises(VsrError) as caught:
        build_named(ImagenetOptions(), context())
    message = str(caught.value)
    assert str(tmp_path / "checkpoints" / file) in message
    assert "--set visual.weights=PATH" in message
    assert "--set visual.weights=random" in message
    assert "\n" not in message


def test_encoder_is_rebuilt_without_weights_file_and_network(mobilenet, tmp_path, no_network):
    seeded = replace(context(32, tmp_path), seed=1)  # other weights than the fixture's
    again = build_mobilenet_v2(ImagenetOptions(weights="/gone.pt"), seeded)
    assert again.cache_key != mobilenet.cache_key
    again.load_state_dict(mobilenet.state_dict())
    assert again.cache_key == mobilenet.cache_key
    pixels = again.pixels(images(1))
    assert torch.equal(again(again.frozen(pixels)), mobilenet(mobilenet.frozen(pixels)))


FAMILIES = {
    "alexnet": 4096,
    "convnext_tiny": 768,
    "densenet121": 1024,
    "efficientnet_b0": 1280,
    "googlenet": 1024,
    "inception_v3": 2048,
    "maxvit_t": 512,
    "mobilenet_v2": 1280,
    "mobilenet_v3_small": 1024,
    "regnet_y_400mf": 440,
    "resnet18": 512,
    "resnext50_32x4d": 2048,
    "shufflenet_v2_x0_5": 1024,
    "squeezenet1_1": 512,
    "swin_t": 768,
    "swin_v2_t": 768,
    "vgg11": 4096,
    "vit_b_32": 768,
}
"""One network a family, and how many features come before its last layer."""
LARGE = {"alexnet", "maxvit_t", "swin_v2_t", "vgg11", "vit_b_32"}


@pytest.mark.parametrize(
    "architecture", [pytest.param(name, marks=[pytest.mark.slow] if name in LARGE else []) for name in FAMILIES]
)
def test_features_equal_the_input_of_the_last_layer(architecture, monkeypatch):
    given = {"transform_input": True, "init_weights": False} if architecture in ("googlenet", "inception_v3") else {}
    theirs = models.get_model(architecture, weights=None, **given).eval()
    for part in theirs.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(std=0.1)  # so that to forget them would show
    layers = [part for part in theirs.modules() if isinstance(part, nn.Linear | nn.Conv2d)]
    last = [layer for layer in layers if layer.weight.shape[0] == 1000][-1]
    seen = []
    last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    monkeypatch.setattr(module, "download", lambda entry: theirs.state_dict())
    encoder = build(TorchvisionOptions(architecture=architecture), context())
    pixels = encoder.pixels(images(1, 96))
    with torch.no_grad():
        theirs(pixels)
    expected = seen[0].mean((2, 3)) if seen[0].ndim == 4 else seen[0]
    features = encoder.frozen(pixels)
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)
    assert features.shape == (1, FAMILIES[architecture])
    assert not any(name.startswith("aux") for name in encoder.state_dict())


def test_every_architecture_has_preprocessing():
    for name in models.list_models(module=models):
        for entry in models.get_model_weights(name):
            for crop in (False, True):
                pixels = module.preprocessing_of(entry, crop=crop)
                assert pixels.size == entry.transforms().crop_size[0]
                assert pixels.resize == (entry.transforms().resize_size[0] if crop else pixels.size)


@pytest.mark.parametrize("name", ["mobilenet_v2", "efficientnet_b0", "efficientnet_v2_l"])
def test_cropped_pixels_equal_torchvision_transforms(name):
    entry = models.get_model_weights(name).DEFAULT
    pictures = images(1, 300)[..., ::4, ::4].float()  # smooth, as images are
    pictures = nn.functional.interpolate(pictures, (520, 520), mode="bilinear").to(torch.uint8)
    ours = module.preprocessing_of(entry, crop=True)(pictures)
    torch.testing.assert_close(ours, entry.transforms()(pictures), atol=0.02, rtol=0)  # theirs are rounded to bytes


def test_weights_of_an_older_densenet_are_accepted(tmp_path):
    theirs = models.densenet121(weights=None).state_dict()
    old = {re.sub(r"(denselayer\d+\.(?:norm|relu|conv))([12])\.", r"\1.\2.", name): t for name, t in theirs.items()}
    assert old.keys() != theirs.keys()
    save_file(old, tmp_path / "old.safetensors")
    options = TorchvisionOptions(architecture="densenet121", weights=str(tmp_path / "old.safetensors"))
    encoder = build(options, context())
    assert torch.equal(encoder.network.state_dict()["features.conv0.weight"], theirs["features.conv0.weight"])
    name = "features.denseblock1.denselayer1.norm1.weight"
    assert torch.equal(encoder.network.state_dict()[name], theirs[name])


def test_weights_are_chosen_by_torchvision_names(monkeypatch):
    asked = []

    def download(entry):
        asked.append(entry.name)
        return models.mobilenet_v2(weights=None).state_dict()

    monkeypatch.setattr(module, "download", download)
    for weights in ("default", "IMAGENET1K_V1"):
        build(TorchvisionOptions(architecture="mobilenet_v2", weights=weights), context())
    assert asked == ["IMAGENET1K_V2", "IMAGENET1K_V1"]
    with pytest.raises(VsrError, match=r"IMAGENET1K_V7\); choose default, IMAGENET1K_V1, IMAGENET1K_V2, random or a"):
        build(TorchvisionOptions(architecture="mobilenet_v2", weights="IMAGENET1K_V7"), context())


@pytest.mark.slow
def test_a_vision_transformer_has_positions_for_the_size_of_its_weights(monkeypatch):
    monkeypatch.setattr(module, "download", lambda entry: models.vit_b_16(image_size=384).state_dict())
    encoder = build(TorchvisionOptions(architecture="vit_b_16", weights="IMAGENET1K_SWAG_E2E_V1"), context())
    assert encoder.pixels(images(1, 64)).shape == (1, 3, 384, 384)
    assert encoder.network.encoder.pos_embedding.shape == (1, 1 + 24 * 24, 768)


@pytest.mark.parametrize("architecture", ["resnet19", "mnasnet1_0", "fasterrcnn_resnet50_fpn", ""])
def test_unknown_architecture_is_refused_with_suggestions(architecture):
    with pytest.raises(VsrError) as caught:
        build(TorchvisionOptions(architecture=architecture, weights="random"), context())
    assert f"(got {architecture})" in str(caught.value)
    assert "--set visual.architecture=NAME" in str(caught.value)
    assert architecture != "resnet19" or "resnet18" in str(caught.value)


def test_fully_trained_network_keeps_running_statistics():
    options = TorchvisionOptions(architecture="mobilenet_v3_small", weights="random", frozen="none")
    encoder = build(options, context()).train()
    before = {name: tensor.clone() for name, tensor in encoder.network.named_buffers()}
    pixels = encoder.pixels(images(2))
    assert encoder.cache_key is None
    assert encoder.frozen(pixels) is pixels
    embedding = encoder(pixels)
    assert embedding.isfinite().all()
    embedding.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.network.named_buffers())
    assert any(part.training for part in encoder.network.modules() if isinstance(part, nn.Dropout))


def test_run_stores_its_preprocessing(tmp_path, no_network):
    options = TorchvisionOptions(architecture="mobilenet_v3_small", weights="random", crop=True)
    encoder = build(options, context())
    assert isinstance(encoder, HasAssets)
    encoder.save_assets(tmp_path)
    again = build(options.model_copy(update={"crop": False, "weights": "/gone.pt"}), context(assets=tmp_path))
    again.load_state_dict(encoder.state_dict())
    assert again.preprocessing == encoder.preprocessing
    assert again.cache_key == encoder.cache_key


def test_encoder_trains_on_stories(train_small, tmp_path):
    run = train_small(
        tmp_path / "run",
        "visual.name=torchvision",
        "visual.architecture=mobilenet_v3_small",
        "visual.weights=random",
        "training.epochs=1",
    )
    model = load_model(run, registry())
    assert not model.visual.trains_whole


@pytest.mark.skipif(not REAL.exists(), reason="needs the real weights of MobileNetV2")
def test_real_weights_give_torchvision_s_logits():
    from torchvision.models import mobilenet_v2

    encoder = build_mobilenet_v2(ImagenetOptions(weights=str(REAL)), context())
    theirs = mobilenet_v2()
    theirs.load_state_dict(load_file(REAL))
    theirs.eval()
    pixels = encoder.pixels(images(2))
    with torch.no_grad():
        torch.testing.assert_close(theirs.classifier(encoder.frozen(pixels)), theirs(pixels))
