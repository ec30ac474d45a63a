import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModel,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    ConvNextConfig,
    ConvNextModel,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
    ViTModel,
)

from vsr_cli.api import BuildContext, HasAssets, VsrError
from vsr_cli.model.weights import load_model
from vsr_cli.plugin.discovery import registry
from vsr_plugins.visual_encoders import HfVisionOptions
from vsr_plugins.visual_encoders.transformers_networks import build

torch.set_num_threads(1)  # at these sizes a pool of threads costs more than it saves

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
VISION = {**SIZES, "image_size": 32, "patch_size": 8}
TEXT = {**SIZES, "vocab_size": 40, "max_position_embeddings": 12}
SQUARE = {"height": 32, "width": 32}
VIT = ViTImageProcessor(size=SQUARE)
CLIP = CLIPImageProcessor(size={"shortest_edge": 36}, crop_size=SQUARE)
KINDS = {
    "vit": (ViTModel(ViTConfig(**VISION)), VIT),
    "classifier": (ViTForImageClassification(ViTConfig(**VISION)), VIT),
    "dinov2": (Dinov2Model(Dinov2Config(**VISION, mlp_ratio=2)), CLIP),
    "registers": (Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**VISION, num_register_tokens=3)), CLIP),
    "convnext": (ConvNextModel(ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2)), CLIP),
    "clip": (CLIPModel(CLIPConfig(text_config=TEXT, vision_config=VISION)), CLIP),
    "siglip": (SiglipModel(SiglipConfig(text_config=TEXT, vision_config=VISION)), SiglipImageProcessor(size=SQUARE)),
}
"""A model of random weights and its processor, of each kind."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    found = {}
    for kind, (model, processor) in KINDS.items():
        found[kind] = str(tmp_path_factory.mktemp(kind))
        model.save_pretrained(found[kind])
        processor.save_pretrained(found[kind])
    return found


def context(width=8, assets=None) -> BuildContext:
    return BuildContext(width=width, steps=4, image_size=32, training_texts=list, assets=assets)


def encoder(folder, **options):
    torch.manual_seed(0)
    return build(HfVisionOptions(model=folder, **options), context())


def images(count, size=32):
    random = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=random)


def expected(kind, pixels, pooling):
    """The features of the whole model, by the library's own ways."""
    model = KINDS[kind][0].eval()
    with torch.no_grad():
        if kind in ("clip", "siglip"):
            output = model.vision_model(pixel_values=pixels)
        else:
            output = (model.vit if kind == "classifier" else model)(pixel_values=pixels)
    states = output.last_hidden_state
    if pooling == "pooler":
        return output.pooler_output
    if pooling == "cls":
        return states[:, 0]
    if kind == "convnext":
        return states.mean((2, 3))
    return states[:, -16:].mean(1)  # 16 patches of 8 pixels in 32, after all other tokens


CASES = [(kind, pooling) for kind in ("vit", "dinov2", "registers", "clip") for pooling in ("pooler", "cls", "mean")]
CASES += [("classifier", "cls"), ("classifier", "mean")]
CASES += [(kind, pooling) for kind in ("siglip", "convnext") for pooling in ("pooler", "mean")]


@pytest.mark.parametrize(("kind", "pooling"), CASES)
def test_features_equal_the_model_s(folders, kind, pooling, capfd):
    model = encoder(folders[kind], pooling=pooling)
    pixels = model.pixels(images(3, 48))
    features = model.frozen(pixels)
    assert features.shape == (3, 16)
    assert not features.requires_grad
    torch.testing.assert_close(features, expected(kind, pixels, pooling), atol=1e-5, rtol=1e-5)
    assert model(features).shape == (3, 8)
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {"projection.weight", "projection.bias"}
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


@pytest.mark.parametrize("kind", ["vit", "clip", "siglip"])
def test_pixels_equal_the_processor_s(folders, kind):
    pictures = torch.nn.functional.interpolate(images(2, 8).float(), (64, 64), mode="bilinear").to(torch.uint8)
    theirs = KINDS[kind][1](list(pictures), return_tensors="pt")["pixel_values"]
    ours = encoder(folders[kind], crop=True).pixels(pictures)
    torch.testing.assert_close(ours, theirs, atol=0.03, rtol=0)  # theirs are rounded to bytes


def test_without_crop_the_whole_image_is_read(folders):
    assert encoder(folders["clip"]).preprocessing.resize == 32
    assert encoder(folders["clip"], crop=True).preprocessing.resize == 36


@pytest.mark.parametrize(
    ("kind", "pooling"), [("vit", "pooler"), ("classifier", "cls"), ("clip", "mean"), ("convnext", "mean")]
)
def test_encoder_is_rebuilt_from_assets(folders, kind, pooling, tmp_path, no_network):
    model = encoder(folders[kind], pooling=pooling)
    assert isinstance(model, HasAssets)
    model.save_assets(tmp_path)
    assert all(folders[kind] not in path.read_text() for path in tmp_path.iterdir())
    again = build(HfVisionOptions(model="/gone", pooling=pooling), context(assets=tmp_path))
    again.load_state_dict(model.state_dict())
    pixels = again.pixels(images(2))
    assert torch.equal(again(again.frozen(pixels)), model(model.frozen(pixels)))
    assert again.cache_key == model.cache_key


def test_fully_trained_model_gets_gradients(folders):
    model = encoder(folders["dinov2"], frozen="none", pooling="cls").train()
    pixels = model.pixels(images(2))
    assert model.frozen(pixels) is pixels
    model(pixels).square().sum().backward()
    untouched = {name for name, p in model.named_parameters() if p.grad is None}
    assert untouched <= {"network.model.embeddings.mask_token"}


def message_of(**options):
    with pytest.raises(VsrError) as caught:
        build(HfVisionOptions(**options), context())
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_unavailable_model_names_the_remedies(no_network, tmp_path):
    for model in ("facebook/dinov2-small", "/no/such/folder", str(tmp_path)):
        message = message_of(model=model)
        assert model in message
        assert "--set visual.model=FOLDER" in message
        assert "HF_HOME" in message


@pytest.mark.parametrize(
    ("kind", "pooling", "complaint"),
    [
        ("classifier", "pooler", "lacks the weights of its pooler; set visual.pooling to cls or mean"),
        ("siglip", "cls", "has no class token (siglip_vision_model); set visual.pooling to pooler or mean"),
        ("convnext", "cls", "has no class token (convnext)"),
    ],
)
def test_unavailable_pooling_is_refused(folders, kind, pooling, complaint):
    assert complaint in message_of(model=folders[kind], pooling=pooling)


def copy_of(folder, to: Path):
    for file in Path(folder).iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    return to


def test_weights_that_lack_tensors_and_pickled_ones_are_refused(folders, tmp_path):
    folder = copy_of(folders["vit"], tmp_path)
    tensors = load_file(folder / "model.safetensors")
    removed = next(name for name in tensors if name.endswith("layernorm_after.weight"))
    save_file({k: t for k, t in tensors.items() if k != removed}, folder / "model.safetensors", {"format": "pt"})
    assert "lacks 1 tensors" in message_of(model=str(folder))
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    assert "safetensors" in message_of(model=str(folder))


def test_non_square_processor_is_refused(folders, tmp_path):
    folder = copy_of(folders["vit"], tmp_path)
    facts = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps({**facts, "size": {"height": 32, "width": 48}}))
    assert "has no square input size" in message_of(model=str(folder))
    (folder / "preprocessor_config.json").write_text(json.dumps({**facts, "size": {"height": 40, "width": 40}}))
    assert "does not accept images of 40x40 pixels" in message_of(model=str(folder))
    (folder / "preprocessor_config.json").unlink()
    assert "preprocessor_config.json by --set visual.model=FOLDER" in message_of(model=str(folder))


def test_half_precision_weights_are_loaded_as_single(folders, tmp_path):
    folder = copy_of(folders["vit"], tmp_path)
    AutoModel.from_pretrained(folders["vit"]).half().save_pretrained(folder)
    assert encoder(str(folder)).frozen(torch.zeros(1, 3, 32, 32)).dtype == torch.float32


def test_encoder_trains_on_stories(train_small, tmp_path, folders):
    settings = ["visual.name=hf-vision", f"visual.model={folders['siglip']}", "visual.frozen=none"]
    run = train_small(tmp_path / "run", *settings, "training.epochs=1")
    assert load_model(run, registry()).visual.trains_whole
