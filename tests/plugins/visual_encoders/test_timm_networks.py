import sys

import pytest
import timm
import torch
from safetensors.torch import save_file

from vsr_cli.api import BuildContext, HasAssets, VsrError
from vsr_cli.model.weights import load_model
from vsr_cli.plugin.discovery import registry
from vsr_plugins.visual_encoders import TimmOptions
from vsr_plugins.visual_encoders.timm_networks import build, preprocessing_of

torch.set_num_threads(1)  # at these sizes a pool of threads costs more than it saves

FAMILIES = ("byobnet", "convnext", "efficientnet", "mambaout", "maxvit", "nfnet", "resnet", "vit", "vit_relpos")
"""timm has a very small network of each family for tests."""


def context(width=16, assets=None) -> BuildContext:
    return BuildContext(width=width, steps=4, image_size=160, training_texts=list, assets=assets)


def encoder(model="test_resnet", weights="random", **options):
    torch.manual_seed(0)
    return build(TimmOptions(model=model, weights=weights, **options), context())


def images(count, size=160):
    random = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=random)


@pytest.mark.parametrize("family", FAMILIES)
def test_features_give_timm_s_logits(family, tmp_path):
    theirs = timm.create_model(f"test_{family}").eval()
    save_file(theirs.state_dict(), tmp_path / "weights.safetensors")
    model = encoder(f"test_{family}", str(tmp_path / "weights.safetensors"))
    pixels = model.pixels(images(2, 96))
    assert pixels.shape == (2, 3, 160, 160)
    features = model.frozen(pixels)
    assert not features.requires_grad
    with torch.no_grad():
        torch.testing.assert_close(theirs.get_classifier()(features), theirs(pixels), rtol=1e-4, atol=1e-5)
    assert model(features).shape == (2, 16)
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {"projection.weight", "projection.bias"}


def test_pixels_are_preprocessed_as_in_timm():
    facts = timm.data.resolve_model_data_config(timm.create_model("test_vit"))
    whole, cropped = (preprocessing_of(facts, crop=crop) for crop in (False, True))
    assert (whole.size, whole.resize, cropped.size, cropped.resize) == (160, 160, 160, 168)
    assert (whole.mean, whole.std, whole.interpolation) == ((0.5,) * 3, (0.5,) * 3, "bicubic")
    with pytest.raises(VsrError, match=r"is not square \(200x160 pixels\); choose another"):
        preprocessing_of({**facts, "input_size": (3, 160, 200)}, crop=False)
    with pytest.raises(VsrError, match=r"unsupported interpolation \(lanczos\)"):
        preprocessing_of({**facts, "interpolation": "lanczos"}, crop=False)


def test_encoder_is_rebuilt_without_weights_file_and_network(tmp_path, no_network):
    model = encoder("test_vit", crop=True)
    assert isinstance(model, HasAssets)
    model.save_assets(tmp_path)
    again = build(TimmOptions(model="test_vit"), context(assets=tmp_path))
    again.load_state_dict(model.state_dict())
    pixels = model.pixels(images(1))
    assert torch.equal(again.pixels(images(1)), pixels)
    assert torch.equal(again(again.frozen(pixels)), model(model.frozen(pixels)))
    assert again.cache_key == model.cache_key


@pytest.mark.parametrize(
    ("model", "complaint"),
    [
        ("test_resnett", "no such model (got test_resnett); choose a name of timm, such as test_resnet"),
        ("hf-hub:timm/test_vit", "such as test_vit"),
        ("test_resnet.no_such_weights", "cannot load test_resnet.no_such_weights (Invalid pretrained tag"),
        ("test_byobnet", "cannot load test_byobnet ("),
    ],
)
def test_unavailable_models_and_weights_are_refused(model, complaint, no_network, capfd):
    with pytest.raises(VsrError) as caught:
        build(TimmOptions(model=model), context())
    message = str(caught.value)
    assert complaint in message
    assert "--set visual." in message
    assert "\n" not in message
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def test_weights_of_another_model_are_refused(tmp_path):
    save_file(timm.create_model("test_vit").state_dict(), tmp_path / "vit.safetensors")
    with pytest.raises(VsrError, match=r"vit\.safetensors: not the weights of timm's test_resnet \(lacks"):
        encoder("test_resnet", str(tmp_path / "vit.safetensors"))


def test_missing_library_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(VsrError, match=r"timm: the library is not installed .*; pip install 'vsr-cli\[timm\]'"):
        encoder()


def test_encoder_trains_on_stories(train_small, tmp_path):
    settings = ["visual.name=timm", "visual.model=test_resnet", "visual.weights=random"]
    run = train_small(tmp_path / "run", *settings, "training.epochs=1")
    assert not load_model(run, registry()).visual.trains_whole
