"""The image decoder `latent` over autoencoders of the diffusers library, tiny ones of random weights."""

import json
import shutil
import sys
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from safetensors.torch import load_file, save_file

from vsr_cli.api import BuildContext, Decoding, FitsTraining, HasAssets, VsrError
from vsr_cli.config.schema import FeatureOptions
from vsr_cli.data.cache.extraction import frozen_features
from vsr_cli.data.prepared import open_prepared
from vsr_cli.model.loss_means import open_split
from vsr_cli.model.weights import frozen_names, load_model
from vsr_cli.plugin.discovery import registry
from vsr_cli.testing import check_component
from vsr_plugins.image_decoders import LatentOptions
from vsr_plugins.image_decoders.latent import Latent, build

torch.set_num_threads(1)  # at these sizes a pool of threads costs more than it saves

WEIGHTS = "diffusion_pytorch_model.safetensors"
KL = {
    "down_block_types": ["DownEncoderBlock2D"] * 3,
    "up_block_types": ["UpDecoderBlock2D"] * 3,
    "block_out_channels": [8] * 3,
    "norm_num_groups": 4,
    "latent_channels": 5,
    "scaling_factor": 0.5,
    "shift_factor": 0.25,
}
TINY = {
    "encoder_block_out_channels": [8, 8],
    "decoder_block_out_channels": [8, 8],
    "num_encoder_blocks": [1, 1],
    "num_decoder_blocks": [1, 1],
}
FACTORS = {"kl": 4, "tiny": 2}
"""Pixels per latent position, in width."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    torch.manual_seed(0)
    made = {"kl": AutoencoderKL(**KL), "tiny": AutoencoderTiny(**TINY)}
    folder = tmp_path_factory.mktemp("autoencoders")
    for name, model in made.items():
        model.save_pretrained(folder / name)
    return {name: folder / name for name in made}


def latent(model, image_size=16, *, assets=None, **options) -> Latent:
    context = BuildContext(width=8, steps=4, image_size=image_size, training_texts=list, assets=assets)
    return build(LatentOptions(channels=16, model=str(model), **options), context)


def theirs(folder: Path):
    kind = AutoencoderKL if folder.name == "kl" else AutoencoderTiny
    return kind.from_pretrained(folder).eval()


@pytest.mark.parametrize("name", FACTORS)
def test_component_passes_every_check(folders, name):
    settings = ["image_decoder.channels=16", f"image_decoder.model={folders[name]}"]
    check_component("latent", kind="image-decoder", settings=settings)


@pytest.mark.parametrize("image_size", [16, 33])
@pytest.mark.parametrize("name", FACTORS)
def test_latent_is_unscaled_and_image_clipped(folders, name, image_size):
    decoder, autoencoder = latent(folders[name], image_size).decoder, theirs(folders[name])
    side = -(-image_size // FACTORS[name])
    assert (decoder.latent_channels, decoder.latent_size) == (autoencoder.config.latent_channels, side)
    scaled = 4 * torch.randn(2, decoder.latent_channels, side, side)
    image = decoder(scaled)
    assert image.shape == (2, 3, image_size, image_size)
    own = scaled / autoencoder.config.scaling_factor + (autoencoder.config.shift_factor or 0)
    with torch.no_grad():
        whole = (autoencoder.decode(own).sample / 2 + 0.5).clamp(0, 1)
    assert torch.allclose(image, whole[..., :image_size, :image_size], atol=1e-5)


@pytest.mark.parametrize("name", FACTORS)
def test_only_the_projection_to_the_latent_trains(folders, name):
    model = latent(folders[name]).train()
    frozen = {name for name in model.state_dict() if name.startswith("decoder.")}
    assert frozen_names(model) == frozen
    assert not [name for name in frozen if "encoder" in name.split(".")], "what reads images is not kept"
    assert not any(module.training for module in model.decoder.modules())
    model.decoder(model.latent(model.features(torch.randn(2, 8)))).square().mean().backward()
    for weight_name, weight in model.named_parameters():
        assert (weight.grad is None) if weight_name in frozen else (weight.grad.abs().sum() > 0), weight_name
    assert not isinstance(model, FitsTraining), "there is nothing to learn before the first step"


def test_out_of_range_pixel_has_a_gradient(folders):
    decoder = latent(folders["kl"]).decoder
    decoder.autoencoder.decoder.conv_out.bias.data.fill_(50.0)
    values = torch.zeros(1, decoder.latent_channels, decoder.latent_size, decoder.latent_size, requires_grad=True)
    image = decoder(values)
    assert torch.equal(image, torch.ones_like(image))
    image.mean().backward()
    assert values.grad.abs().sum() > 0


@pytest.mark.parametrize(("half", "computed"), [(torch.float16, torch.float32), (torch.bfloat16, torch.bfloat16)])
def test_image_is_decoded_in_single_precision(folders, half, computed):
    decoder, seen = latent(folders["kl"]).decoder, []
    decoder.autoencoder.decoder.conv_out.register_forward_hook(lambda *told: seen.append(told[-1].dtype))
    with torch.autocast("cpu", dtype=half):
        decoder(torch.zeros(1, decoder.latent_channels, decoder.latent_size, decoder.latent_size, dtype=half))
    assert seen == [computed]


@pytest.mark.both_precisions
@pytest.mark.parametrize("name", FACTORS)
def test_run_loads_without_folder_and_network(folders, name, train_small, small_data, tmp_path, no_network):
    folder = Path(shutil.copytree(folders[name], tmp_path / name))
    settings = ("image_decoder.name=latent", f"image_decoder.model={folder}", "training.epochs=1")
    run = train_small(tmp_path / "run", *settings)
    kept, given = load_file(run.folder / "frozen.safetensors"), load_file(folder / WEIGHTS)
    drawing = {key: value for key, value in given.items() if not key.startswith(("encoder.", "quant_conv."))}
    for key, value in drawing.items():
        assert torch.equal(kept[f"image_decoder.decoder.autoencoder.{key}"], value), key
    shutil.rmtree(folder)
    assert str(tmp_path) not in (run.assets / "image_decoder" / "config.json").read_text()

    models = [load_model(run, registry(), which="last") for _ in range(2)]
    prepared, cpu = open_prepared(small_data), torch.device("cpu")
    losses, images = [], []
    for model in models:
        options = {"device": cpu, "options": FeatureOptions(), "splits": ["validation"]}
        features = frozen_features(prepared, model.visual, model.text, **options)
        split = open_split(model, prepared, "validation", features, device=cpu)
        everything = np.arange(len(split))
        context, target = split.contexts.batch(everything), split.targets.batch(everything)
        with torch.no_grad():
            losses.append(model(context, target)["image"].item())
        images.append(model.predict(context, Decoding()).images)
    measured = json.loads(run.history.read_text().splitlines()[-1])["validation"]["image"]
    assert losses == [pytest.approx(measured, rel=1e-5)] * 2
    assert torch.equal(*images)


def test_configuration_does_not_depend_on_library_defaults(folders, tmp_path):
    folder = Path(shutil.copytree(folders["tiny"], tmp_path / "tiny"))
    change(folder, lambda config: config.pop("scaling_factor"))
    model = latent(folder)
    assert isinstance(model, HasAssets)
    model.save_assets(tmp_path)
    kept = json.loads((tmp_path / "config.json").read_text())
    assert kept["scaling_factor"] == 1.0
    again = latent("gone", assets=tmp_path)
    again.load_state_dict(model.state_dict())
    values = torch.randn(1, 4, 8, 8)
    assert torch.equal(again.decoder(values), model.decoder(values))


def test_autoencoder_of_a_pipeline_is_loaded_from_the_cache(folders, tmp_path, monkeypatch, no_network):
    pipeline = tmp_path / "models--some--pipeline"
    (pipeline / "refs").mkdir(parents=True)
    (pipeline / "refs" / "main").write_text("a" * 40)
    shutil.copytree(folders["kl"], pipeline / "snapshots" / ("a" * 40) / "vae")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    from_cache = latent("some/pipeline", subfolder="vae").decoder.autoencoder
    from_folder = latent(pipeline / "snapshots" / ("a" * 40), subfolder="vae").decoder.autoencoder
    for name, value in latent(folders["kl"]).decoder.autoencoder.state_dict().items():
        assert torch.equal(from_cache.state_dict()[name], value)
        assert torch.equal(from_folder.state_dict()[name], value)


def change(folder, act):
    config = json.loads((folder / "config.json").read_text())
    act(config)
    (folder / "config.json").write_text(json.dumps(config))


def without_a_tensor(folder):
    tensors = load_file(folder / WEIGHTS)
    tensors.popitem()
    save_file(tensors, folder / WEIGHTS)


def pickled(folder):
    torch.save(load_file(folder / WEIGHTS), folder / "diffusion_pytorch_model.bin")
    (folder / WEIGHTS).unlink()


def indexed(folder):
    names = dict.fromkeys(load_file(folder / WEIGHTS), "part.bin")
    torch.save(load_file(folder / WEIGHTS), folder / "part.bin")
    index = {"metadata": {}, "weight_map": names}
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index))


BAD = {
    "of pickled weights alone": (pickled, "its weights are not in one file"),
    "with an index of pickled weights beside": (indexed, "its weights are not in one file"),
    "without a configuration": (lambda folder: (folder / "config.json").unlink(), "No such file"),
    "with a list for it": (lambda folder: (folder / "config.json").write_text("[]"), "cannot load"),
    "of another class": (
        lambda folder: change(folder, lambda config: config.update(_class_name="AutoencoderDC")),
        r"not a supported autoencoder of RGB images \(got AutoencoderDC\)",
    ),
    "of four colours": (
        lambda folder: change(folder, lambda config: config.update(out_channels=4)),
        "not a supported autoencoder of RGB images",
    ),
    "that lacks weights": (without_a_tensor, r"lacks 1 tensors"),
    "of other shapes": (
        lambda folder: change(folder, lambda config: config.update(decoder_block_out_channels=[16, 16])),
        "expected shape",
    ),
    "cut short": (lambda folder: (folder / WEIGHTS).write_bytes(b"\0" * 100), "Unable to load weights"),
}


@pytest.mark.parametrize("broken", BAD)
def test_unusable_folder_is_one_line(folders, broken, tmp_path, capfd):
    folder = Path(shutil.copytree(folders["tiny"], tmp_path / "model"))
    act, complaint = BAD[broken]
    act(folder)
    with pytest.raises(VsrError, match=complaint) as caught:
        latent(folder)
    assert str(folder) in str(caught.value)
    assert "--set image_decoder.model=" in str(caught.value)
    assert "\n" not in str(caught.value)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def test_folder_without_model_is_refused(train_small, tmp_path):
    with pytest.raises(VsrError, match=r"image_decoder\.subfolder=vae: needs a model; set image_dec"):
        train_small(tmp_path / "run", "image_decoder.name=latent", "image_decoder.subfolder=vae")


def test_unavailable_model_is_one_line(no_network, capfd):
    with pytest.raises(VsrError, match=r"cannot load someone/autoencoder \(.*HF_HOME") as caught:
        latent("someone/autoencoder")
    assert "\n" not in str(caught.value)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


@pytest.mark.parametrize("again", [False, True])
def test_missing_library_names_the_remedy(monkeypatch, tmp_path, again):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(VsrError, match=r"needs diffusers, which is not installed; pip install 'vsr-cli\[diffusers\]'"):
        latent("someone/autoencoder", assets=tmp_path if again else None)
