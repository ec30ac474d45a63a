"""The image decoder `diffusion` with an IP-Adapter, which reads the context's images."""

import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from vsr_cli.api import BuildContext, VsrError
from vsr_plugins.image_decoders import DiffusionOptions
from vsr_plugins.image_decoders.diffusion import build
from vsr_plugins.image_decoders.diffusion_files import requirements
from vsr_plugins.image_decoders.diffusion_loading import load_pipeline

from ...plugin_checks.small_pipelines import PIPELINES, save_ip_adapter
from .test_diffusion import HEIGHT, next_text, stories, targets

torch.set_num_threads(1)  # at these sizes a pool of threads costs more than it saves

every = pytest.mark.parametrize("which", ["sd", "sdxl"])


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {}
    for name in ("sd", "sdxl", "sd3"):
        folder = PIPELINES[name](tmp_path_factory.mktemp("pipelines") / name)
        if name != "sd3":
            save_ip_adapter(folder, load_pipeline(DiffusionOptions(model=str(folder))).unet)
        made[name] = folder
    return made


@pytest.fixture
def make(folders):
    def made(which, *, assets=None, **options):
        torch.manual_seed(0)
        folder = folders.get(which, which)
        given = {"model": str(folder), "ip_adapter": f"{folder}/adapter.safetensors", "steps": 1}
        context = BuildContext(width=8, steps=4, image_size=HEIGHT, training_texts=list, assets=assets)
        return build(DiffusionOptions(**given | options), context)

    return made


def pictures():
    return torch.rand(3, 4, 3, HEIGHT, HEIGHT, generator=torch.Generator().manual_seed(2))


@every
def test_every_image_of_the_context_leads_the_image_and_the_loss(make, which):
    model, narrative = make(which), stories(images=pictures)
    images, loss = model.generate(narrative, next_text(), 1), model.loss(narrative, next_text(), targets())
    assert torch.equal(model.generate(stories([2, 0], images=pictures), next_text([2, 0]), 1), images[[2, 0]])
    for frame in range(4):
        changed = pictures()
        changed[1, frame] = 1 - changed[1, frame]
        other = replace(narrative, context=replace(narrative.context, images=lambda changed=changed: changed))
        found = model.generate(other, next_text(), 1)
        assert [torch.equal(*pair) for pair in zip(found, images, strict=True)] == [True, False, True]
        assert not torch.equal(model.loss(other, next_text(), targets()), loss)
    without = make(which, ip_adapter=None).generate(narrative, next_text(), 1)
    assert not torch.equal(without, images)
    assert torch.allclose(make(which, ip_adapter_scale=0.0).generate(narrative, next_text(), 1), without, atol=1e-5)


@every
@pytest.mark.parametrize("trained", ["none", "lora"])
def test_it_is_built_again_from_assets(make, which, trained, tmp_path):
    model, narrative = make(which, trained=trained, guidance=2.0), stories(images=pictures)
    if trained == "lora":
        model.train().loss(narrative, next_text(), targets()).backward()
        model.eval()
    model.save_assets(tmp_path)
    again = make("nowhere", assets=tmp_path, trained=trained, guidance=2.0)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.generate(narrative, next_text(), 1), model.generate(narrative, next_text(), 1))


def test_unusable_adapters_are_one_line(make, folders, tmp_path):
    remedy = r"--set image_decoder\.ip_adapter=FILE"
    weights = load_file(folders["sd"] / "adapter.safetensors")
    folder = tmp_path / "adapters"
    shutil.copytree(folders["sd"] / "image_encoder", folder / "image_encoder")
    save_file({"other": torch.zeros(1)}, folder / "none.safetensors")
    save_file({name: weights[name] for name in weights if "3." not in name}, folder / "part.safetensors")
    (folder / "broken.safetensors").write_bytes(b"\0" * 9)
    for name, says in {"none": "no weights of image_proj", "part": "to_k_ip", "broken": "be read"}.items():
        with pytest.raises(VsrError, match=rf"{name}\.safetensors.*{says}.*{remedy}") as caught:
            make("sd", ip_adapter=str(folder / f"{name}.safetensors"))
        assert "\n" not in str(caught.value)
    with pytest.raises(VsrError, match=rf"sdxl/adapter\.safetensors .*{remedy}"):
        make("sd", ip_adapter=f"{folders['sdxl']}/adapter.safetensors")
    with pytest.raises(VsrError, match=r"^image_decoder\.ip_adapter: StableDiffusion3Pipeline takes none"):
        make("sd3", ip_adapter=f"{folders['sd']}/adapter.safetensors")


def test_requirements_name_the_adapter_and_its_encoder(folders, nothing_cached):
    given = {"model": str(folders["sd"]), "ip_adapter": f"{folders['sd']}/adapter.safetensors"}
    assert requirements(DiffusionOptions(**given)) == []
    (missing,) = requirements(DiffusionOptions(**given, ip_adapter_encoder="/no/such"))
    assert missing.problem == "there is no such file"
    assert "--set image_decoder.ip_adapter_encoder=FOLDER" in missing.remedy
    given["ip_adapter"] = "h94/IP-Adapter/models/ip-adapter_sd15.safetensors"
    adapter, encoder = requirements(DiffusionOptions(**given))
    assert adapter.what == encoder.what == "the model h94/IP-Adapter"
    assert "downloads are off" in str(adapter.problem)
    assert "ip_adapter=FILE" in adapter.remedy
