"""The image decoder `diffusion`, over pipelines of diffusers: tiny ones of random weights."""

import sys
from dataclasses import replace

import pytest
import torch
from diffusers import DDPMScheduler, DiffusionPipeline, EulerAncestralDiscreteScheduler

from vsr_cli.api import BuildContext, HasAssets, NextText, VsrError
from vsr_plugins.image_decoders import DiffusionOptions
from vsr_plugins.image_decoders.diffusion import build
from vsr_plugins.image_decoders.diffusion_loss import Prompt

from ...plugin_checks.small_pipelines import PIPELINES, SIDE
from ..narratives import make_context, make_narrative

torch.set_num_threads(1)  # at these sizes a pool of threads costs more than it saves

HEIGHT = 24
TEXTS = ["Mara opens a box.", "A dog runs.", ""]
every = pytest.mark.parametrize("which", PIPELINES)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {name: save(tmp_path_factory.mktemp("pipelines") / name) for name, save in PIPELINES.items()}


@pytest.fixture
def make(folders):
    """Build the decoder: make("sd", trained="lora")."""

    def made(which, *, assets=None, **options):
        torch.manual_seed(0)
        context = BuildContext(width=8, steps=4, image_size=HEIGHT, training_texts=list, assets=assets)
        return build(DiffusionOptions(**{"model": str(folders.get(which, which)), "steps": 2} | options), context)

    return made


def stories(rows=(0, 1, 2), **given):
    """Return the narratives of these of three stories, whose tokens and last images differ."""
    numbers = torch.Generator().manual_seed(0)
    frames, last = torch.randn(3, 4, 8, generator=numbers), torch.rand(3, 3, HEIGHT, HEIGHT, generator=numbers)
    ids = torch.arange(60).view(3, 4, 5)
    context = make_context(frames, text_ids=ids, text_mask=ids >= 0, last_image=last, **given)
    return make_narrative(context.take(list(rows)))


def next_text(rows=(0, 1, 2), texts=TEXTS):
    empty = torch.zeros(len(rows), 0)
    return NextText(texts=[texts[row] for row in rows], ids=empty.long(), mask=empty.bool(), features=empty)


def targets(rows=(0, 1, 2)):
    return torch.rand(3, 3, HEIGHT, HEIGHT, generator=torch.Generator().manual_seed(1))[list(rows)]


@every
@pytest.mark.parametrize("strength", [None, 0.5])
def test_image_depends_on_text_seed_and_start_but_not_on_the_batch(make, which, strength):
    model, narrative = make(which, strength=strength), stories()
    images = model.generate(narrative, next_text(), 1)
    assert images.shape == (3, 3, HEIGHT, HEIGHT)
    assert images.min() >= 0
    assert images.max() <= 1
    assert images.std() > 0.01
    assert torch.equal(model.generate(narrative, next_text(), 1), images)
    assert torch.equal(model.generate(stories([2, 0]), next_text([2, 0]), 1), images[[2, 0]])
    assert not torch.equal(model.generate(narrative, next_text(), 2), images)
    other = model.generate(narrative, next_text(texts=["A fox sleeps in the red box.", *TEXTS[1:]]), 1)
    assert not torch.equal(other[0], images[0])
    assert torch.equal(other[1:], images[1:])
    black = replace(narrative.context, last_image=torch.zeros_like(narrative.context.last_image))
    started = model.generate(replace(narrative, context=black), next_text(), 1)
    assert torch.equal(started, images) == (strength is None)


def test_image_is_that_of_the_pipeline_itself(make, folders):
    model, narrative = make("sd", guidance=2.0), stories()
    pipeline = DiffusionPipeline.from_pretrained(folders["sd"])
    generator = torch.Generator()

    def given(context, *, seed):
        return [generator.manual_seed(seed)] * len(context.mask)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vsr_plugins.image_decoders.diffusion.random_generators", given)
        patch.setattr(model, "image_size", SIDE)
        drawn = model.generate(make_narrative(narrative.context.take([0])), next_text([0]), 5)
    generator.manual_seed(5)
    options = {"num_inference_steps": 2, "guidance_scale": 2.0, "generator": generator, "output_type": "pt"}
    assert torch.allclose(pipeline(TEXTS[0], **options).images, drawn, atol=1e-5)


@every
def test_loss_of_evaluation_is_repeatable_and_a_mean_over_stories(make, which):
    model, narrative = make(which), stories()
    with torch.no_grad():
        loss = model.loss(narrative, next_text(), targets())
        torch.manual_seed(5)
        assert torch.equal(model.loss(narrative, next_text(), targets()), loss)
        alone = [model.loss(stories([row]), next_text([row]), targets([row])) for row in range(3)]
        torch.testing.assert_close(sum(alone) / 3, loss)
        assert not torch.equal(model.loss(narrative, next_text(), 1 - targets()), loss)
        assert not torch.equal(model.loss(narrative, next_text(texts=TEXTS[::-1]), targets()), loss)
        model.train()
        torch.manual_seed(5)
        first = model.loss(narrative, next_text(), targets())
        assert not torch.equal(model.loss(narrative, next_text(), targets()), first)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_what_is_predicted_follows_the_scheduler(make, tmp_path, kind):
    model = make(PIPELINES["sd"](tmp_path / "sd", prediction_type=kind))
    latents, noise = torch.randn(2, 2, 4, 8, 8)
    step = torch.tensor([100, 900])
    alpha = DDPMScheduler.from_config(model.pipeline.scheduler.config).alphas_cumprod[step].view(2, 1, 1, 1)
    wanted = {"epsilon": noise, "v_prediction": alpha**0.5 * noise - (1 - alpha) ** 0.5 * latents, "sample": latents}
    model.noise.network = Zero()
    errors = model.noise.errors(latents, Prompt(["", "a"]), noise, (step + 0.5) / 1000)
    torch.testing.assert_close(errors, wanted[kind].square(), rtol=1e-4, atol=1e-4)
    noisy, seen = model.noise.network.seen
    torch.testing.assert_close(noisy, alpha**0.5 * latents + (1 - alpha) ** 0.5 * noise)
    assert torch.equal(seen, step)


def test_flow_matching_predicts_the_way_from_image_to_noise(make):
    model = make("sd3")
    model.noise.network = Zero()
    latents, noise = torch.randn(2, 2, 4, 8, 8)
    errors = model.noise.errors(latents, Prompt(["", "a"]), noise, torch.tensor([0.5, 0.9]))
    torch.testing.assert_close(errors, (noise - latents).square())
    noisy, step = model.noise.network.seen
    share = step / 1000
    assert share[0] == pytest.approx(0.5)
    assert share[1] == pytest.approx(torch.tensor(1.2816).sigmoid().item(), abs=1e-4)  # the normal quantile of 0.9
    share = share.view(2, 1, 1, 1)
    torch.testing.assert_close(noisy, (1 - share) * latents + share * noise)


class Zero:
    """A network that predicts zeros and stores its input."""

    dtype = torch.float32

    def __call__(self, noisy, *, timestep, **_given):
        self.seen = (noisy, timestep)
        return (torch.zeros_like(noisy),)


@every
@pytest.mark.parametrize("trained", ["none", "lora"])
def test_what_trains_has_a_gradient_and_is_built_again_from_assets(make, which, trained, tmp_path):
    options = {"trained": trained, "rank": 2}
    if which != "sd3":
        options["scheduler"] = "EulerAncestralDiscreteScheduler"
    model, narrative = make(which, **options), stories()
    before = model.generate(narrative, next_text(), 1)
    names = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert bool(names) == (trained == "lora")
    assert all("lora" in name and name.startswith(("models.unet.", "models.transformer.")) for name in names)
    model.train()
    reached = set()
    for _ in range(2):  # of two factors the first is zero at first
        loss = model.loss(narrative, next_text(), targets())
        assert loss.requires_grad == (trained == "lora")
        if trained == "lora":
            loss.backward()
            with torch.no_grad():
                for name, weight in model.named_parameters():
                    if weight.grad is not None and weight.grad.any():
                        reached.add(name)
                        weight -= 0.05 * weight.grad.sign()
    assert reached == names
    assert not model.pipeline.vae.training
    images = model.eval().generate(narrative, next_text(), 1)
    assert torch.equal(images, before) == (trained == "none")

    assert isinstance(model, HasAssets)
    model.save_assets(tmp_path)
    again = make("nowhere", assets=tmp_path, **options)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.generate(narrative, next_text(), 1), images)
    with torch.no_grad():
        losses = [each.loss(narrative, next_text(), targets()) for each in (model, again)]
    assert torch.equal(*losses)


def test_assets_name_no_folder_of_this_machine(make, folders, tmp_path):
    make("sdxl").save_assets(tmp_path)
    texts = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(texts) > 8
    assert not [text for text in texts if str(folders["sdxl"].parent) in text]
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_half_precision_is_recorded_and_lora_stays_in_single_precision(make, tmp_path, dtype):
    model = make("sd", dtype=dtype, trained="lora")
    model.save_assets(tmp_path)
    again = make("nowhere", assets=tmp_path, trained="lora")  # as on a machine that would choose fp32
    for each in (model, again):
        kinds = {("lora" in name, weight.dtype) for name, weight in each.named_parameters()}
        half = {"bf16": torch.bfloat16, "fp16": torch.float16}[dtype]
        assert kinds == {(False, half), (True, torch.float32)}
    if dtype == "bf16":  # fp16 needs a GPU
        assert model.generate(stories(), next_text(), 1).dtype == torch.float32
        model.train().loss(stories(), next_text(), targets()).backward()


def test_scheduler_of_another_class_has_the_settings_of_the_pipelines_own(make):
    model = make("sd", scheduler="EulerAncestralDiscreteScheduler")
    assert type(model.pipeline.scheduler) is EulerAncestralDiscreteScheduler
    assert model.pipeline.scheduler.config.beta_start == model.noise.scheduler.config.beta_start == 0.00085
    plain = make("sd").generate(stories(), next_text(), 1)
    assert not torch.equal(model.generate(stories(), next_text(), 1), plain)
    with pytest.raises(VsrError, match=r"^image_decoder\.scheduler: .*\(got NoScheduler\); choose one of .*EulerAnc"):
        make("sd", scheduler="NoScheduler")


def test_pipeline_draws_in_its_own_size_unless_told_otherwise(make):
    assert make("sd").side == SIDE
    assert make("sd", image_size=16).generate(stories(), next_text(), 1).shape == (3, 3, HEIGHT, HEIGHT)
    with pytest.raises(VsrError, match=r"image_size: .* multiples of 4 pixels \(got 18\); set it to 16, or leave"):
        make("sd", image_size=18)
    with pytest.raises(VsrError, match=r"image_size: .*\(got 2\); set it to 4"):
        make("sd", image_size=2)


def test_start_from_an_image_needs_at_least_one_step():
    with pytest.raises(ValueError, match=r"strength 0\.2 of 4 steps leaves no step; raise image_decoder\.steps"):
        DiffusionOptions(strength=0.2)
    assert DiffusionOptions(strength=0.25).strength == 0.25


@pytest.mark.parametrize("again", [False, True])
def test_missing_library_names_the_remedy(make, monkeypatch, tmp_path, again):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(VsrError, match=r"needs diffusers, which is not installed; pip install 'vsr-cli\[diffusers\]'"):
        make("sd", assets=tmp_path if again else None)
