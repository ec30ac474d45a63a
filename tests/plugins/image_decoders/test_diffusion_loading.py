"""Loading a pipeline for the image decoder `diffusion`: what is read, refused or missing."""

import json
import shutil
from pathlib import Path

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file

from vsr_cli.api import VsrError
from vsr_plugins.image_decoders import DiffusionOptions
from vsr_plugins.image_decoders.diffusion_files import files_to_download, requirements
from vsr_plugins.image_decoders.diffusion_loading import load_pipeline, read_assets, write_assets

from ...plugin_checks.small_pipelines import PIPELINES, save_sd

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return save_sd(tmp_path_factory.mktemp("pipelines") / "sd")


@pytest.fixture
def folder(original, tmp_path):
    return Path(shutil.copytree(original, tmp_path / "sd"))


def load(model, **options):
    return load_pipeline(DiffusionOptions(model=str(model), **options))


def change(path, act):
    facts = json.loads(path.read_text())
    act(facts)
    path.write_text(json.dumps(facts))


def named(folder, **given):
    change(folder / "model_index.json", lambda facts: facts.update(given))


def configured(folder, part, **given):
    change(folder / part / "config.json", lambda facts: facts.update(given))


def without(*names):
    def act(folder):
        for name in names:
            (folder / name).unlink()

    return act


def pickled(folder):
    torch.save(load_file(folder / "unet" / WEIGHTS), folder / "unet" / "diffusion_pytorch_model.bin")
    (folder / "unet" / WEIGHTS).unlink()


def indexed_as(name):
    """Divide the weights of the unet in one file of this name and its index."""

    def act(folder):
        weights = load_file(folder / "unet" / WEIGHTS)
        (folder / "unet" / WEIGHTS).unlink()
        if name.endswith(".safetensors"):
            save_file(weights, folder / "unet" / name)
        else:
            torch.save(weights, folder / "unet" / name)
        index = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(weights, name)}
        (folder / "unet" / f"{WEIGHTS}.index.json").write_text(json.dumps(index))

    return act


def without_a_tensor(folder):
    weights = load_file(folder / "vae" / WEIGHTS)
    weights.popitem()
    save_file(weights, folder / "vae" / WEIGHTS)


BAD = {
    "without-index": (without("model_index.json"), "holds no model_index.json"),
    "index-of-a-list": (lambda folder: (folder / "model_index.json").write_text("[]"), "holds no table"),
    "video-pipeline": (lambda folder: named(folder, _class_name="WanPipeline"), r"no text-to-image .*\(got WanPipel"),
    "any-class": (lambda folder: named(folder, _class_name="DiffusionPipeline"), "no text-to-image pipeline"),
    "class-of-its-own": (lambda folder: named(folder, _class_name=["pipeline", "Mine"]), "no text-to-image pipeline"),
    "foreign-library": (lambda folder: named(folder, unet=["os", "system"]), "is of system of os, which is no class"),
    "module-of-its-own": (lambda folder: named(folder, unet=["unet", "UNet"]), "which is no class of diffusers"),
    "not-a-model": (lambda folder: named(folder, unet=["transformers", "Trainer"]), "which is neither model, sched"),
    "strange-component": (
        lambda folder: named(folder, **{"../unet": ["diffusers", "UNet2DModel"]}),
        "names a component '../unet'",
    ),
    "unknown-component": (
        lambda folder: (shutil.copytree(folder / "unet", folder / "more"), named(folder, more=["diffusers", "UNet"])),
        "names more, which is no component of StableDiffusionPipeline",
    ),
    "without-tokenizer": (lambda folder: named(folder, tokenizer=[None, None]), "names no tokenizer"),
    "code": (lambda folder: configured(folder, "text_encoder", auto_map={"AutoModel": "mine.Model"}), "auto_map"),
    "quantized": (lambda folder: configured(folder, "unet", quantization_config={"a": 1}), "weights are quantized"),
    "tokenizer-files": (
        without("tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json"),
        "no tokenizer in tokenizer",
    ),
    "without-scheduler": (without("scheduler/scheduler_config.json"), "no scheduler/scheduler_config.json"),
    "without-configuration": (without("unet/config.json"), "no unet/config.json"),
    "without-weights": (without("text_encoder/model.safetensors"), "no weights of text_encoder in safetensors"),
    "pickled": (pickled, "no weights of unet in safetensors"),
    "index-of-pickled": (indexed_as("part.bin"), "no weights of unet in safetensors"),
    "missing-tensor": (without_a_tensor, "lacks 1 tensors"),
    "other-shapes": (lambda folder: configured(folder, "vae", block_out_channels=[16] * 3), "cannot load"),
    "cut-short": (lambda folder: (folder / "unet" / WEIGHTS).write_bytes(b"\0" * 100), "cannot load"),
}


@pytest.mark.parametrize("broken", BAD)
def test_unusable_folder_is_one_line(folder, broken, capfd):
    act, complaint = BAD[broken]
    act(folder)
    with pytest.raises(VsrError, match=complaint) as caught:
        load(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "image_decoder.model=" in str(caught.value) or "choose a model that" in str(caught.value)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def test_pipeline_that_cannot_start_from_an_image_is_refused_for_it_alone(folder):
    named(folder, _class_name="SanaPipeline")
    with pytest.raises(VsrError, match=r"^image_decoder\.strength: SanaPipeline of .* cannot start from an image"):
        load(folder, strength=0.5)


def test_weights_in_several_files_and_a_half_precision_variant_are_read(folder):
    expected = load(folder)
    indexed_as("diffusion_pytorch_model-00001-of-00001.safetensors")(folder)
    fp16 = {name: tensor.half() for name, tensor in load_file(folder / "vae" / WEIGHTS).items()}
    save_file(fp16, folder / "vae" / "diffusion_pytorch_model.fp16.safetensors")
    found = load(folder)
    for name, tensor in expected.unet.state_dict().items():
        assert torch.equal(found.unet.state_dict()[name], tensor)
    assert all(torch.equal(tensor, fp16[name].float()) for name, tensor in found.vae.state_dict().items())
    assert found.vae.dtype == torch.float32


def test_components_that_generate_nothing_are_left_out(folder):
    named(
        folder,
        safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"],
        feature_extractor=["transformers", "CLIPImageProcessor"],
        requires_safety_checker=True,
    )
    pipeline = load(folder)
    assert pipeline.safety_checker is None
    assert pipeline.feature_extractor is None


@pytest.mark.parametrize("which", PIPELINES)
@pytest.mark.parametrize("strength", [None, 0.5])
def test_class_follows_from_what_the_image_starts_from(tmp_path, which, strength):
    options = DiffusionOptions(model=str(PIPELINES[which](tmp_path / "pipeline")), strength=strength)
    pipeline = load_pipeline(options)
    assert ("Img2Img" in type(pipeline).__name__) == (strength is not None)
    assets = tmp_path / "assets"
    assets.mkdir()
    write_assets(assets, pipeline, scheduler=pipeline.scheduler)
    assert type(read_assets(assets, options)) is type(pipeline)


def test_damaged_assets_are_one_line(original, tmp_path):
    options = DiffusionOptions(model=str(original))
    pipeline = load_pipeline(options)
    write_assets(tmp_path, pipeline, scheduler=pipeline.scheduler)
    shutil.rmtree(tmp_path / "vae")
    with pytest.raises(VsrError, match=r"cannot load .*; restore the run's folder, or train again") as caught:
        read_assets(tmp_path, options)
    assert "\n" not in str(caught.value)


SD_TURBO = [
    *("README.md", "model_index.json", "sd_turbo.safetensors", "scheduler/scheduler_config.json", "image.png"),
    *("text_encoder/config.json", "text_encoder/model.fp16.safetensors", "text_encoder/model.safetensors"),
    *("tokenizer/merges.txt", "tokenizer/special_tokens_map.json", "tokenizer/tokenizer_config.json"),
    *("tokenizer/vocab.json", "unet/config.json", "unet/diffusion_pytorch_model.fp16.safetensors"),
    *("unet/diffusion_pytorch_model.safetensors", "unet/diffusion_pytorch_model.bin", "unet/model.onnx"),
    *("vae/config.json", "vae/diffusion_pytorch_model.safetensors", "safety_checker/model.safetensors"),
]


def test_only_needed_files_are_downloaded_in_half_precision_where_there_is_one():
    expected = {
        *("model_index.json", "scheduler/scheduler_config.json", "text_encoder/config.json"),
        *("text_encoder/model.fp16.safetensors", "tokenizer/merges.txt", "tokenizer/special_tokens_map.json"),
        *("tokenizer/tokenizer_config.json", "tokenizer/vocab.json", "unet/config.json"),
        *("unet/diffusion_pytorch_model.fp16.safetensors", "vae/config.json"),
        "vae/diffusion_pytorch_model.safetensors",
    }
    assert set(files_to_download(SD_TURBO)) == expected
    with pytest.raises(ValueError, match=r"has no model_index\.json"):
        files_to_download(["unet/config.json"])


def test_requirements_are_none_for_a_whole_folder_and_name_what_it_lacks(folder):
    assert requirements(DiffusionOptions(model=str(folder), trained="lora")) == []
    (folder / "vae" / WEIGHTS).unlink()
    (missing,) = requirements(DiffusionOptions(model=str(folder)))
    assert missing.problem == "holds no weights of vae in safetensors"
    assert "--set image_decoder.model=FOLDER" in missing.remedy


def test_requirements_without_network_state_the_size(nothing_cached):
    (missing,) = requirements(DiffusionOptions())
    assert missing.what == "the model stabilityai/sd-turbo (2582 MB)"
    assert "downloads are off" in str(missing.problem)
    with pytest.raises(VsrError, match=r"^image decoder diffusion: the model stabilityai/sd-turbo .*HF_HOME"):
        load("stabilityai/sd-turbo")
    (missing,) = requirements(DiffusionOptions(model="../no/such/folder"))
    assert missing.problem == "there is no such folder"


def test_pipeline_is_loaded_from_the_cache(original, tmp_path, monkeypatch, no_network):
    cached = tmp_path / "models--some--pipeline"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("a" * 40)
    snapshot = Path(shutil.copytree(original, cached / "snapshots" / ("a" * 40)))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    found = load("some/pipeline")
    expected = load(original)
    assert all(
        torch.equal(tensor, found.unet.state_dict()[name]) for name, tensor in expected.unet.state_dict().items()
    )
    assert requirements(DiffusionOptions(model="some/pipeline")) == []
    (snapshot / "unet" / WEIGHTS).unlink()
    (missing,) = requirements(DiffusionOptions(model="some/pipeline"))
    assert "not in the Hugging Face cache" in str(missing.problem)
