import numpy as np
import pytest
import torch

from vsr_cli.api import BuildContext, FitsTraining, TrainingFrames, VsrError
from vsr_cli.model.weights import frozen_names, load_model
from vsr_cli.plugin.discovery import registry
from vsr_cli.workflows.preparation import run_prepare
from vsr_cli.workflows.stories import prepare_config
from vsr_cli.workflows.training import resume_train
from vsr_plugins.image_decoders import LatentOptions
from vsr_plugins.image_decoders.autoencoder import LatentDecoder, train_decoder
from vsr_plugins.image_decoders.latent import build

from ..narratives import random_narrative

torch.set_num_threads(1)  # at these sizes a pool of threads costs more than it saves


CPU = torch.device("cpu")


def halves(size=16):
    """Return images (2, size, size, 3) of which one is red above and the other blue on the right."""
    images = np.zeros((2, size, size, 3), np.uint8)
    images[0, : size // 2, :, 0] = 255
    images[1, :, size // 2 :, 2] = 255
    return images


def frames(images) -> TrainingFrames:
    return TrainingFrames(
        texts=[""] * len(images),
        images=lambda rows: images[rows],
        visual=lambda: pytest.fail("not asked for"),
        text=lambda: pytest.fail("not asked for"),
        visual_trains=True,
        text_trains=True,
        story=np.zeros(len(images), np.int64),
    )


def context(image_size=16):
    return BuildContext(width=8, steps=4, image_size=image_size, training_texts=list)


def nearest_drawing(decoder, wanted, *, steps=100):
    """Return the error that is left of an image when the latent is searched for that draws it best."""
    latent = torch.zeros(1, decoder.latent_channels, decoder.latent_size, decoder.latent_size, requires_grad=True)
    optimizer = torch.optim.Adam([latent], lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        error = (decoder(latent) - wanted).square().mean()
        error.backward()
        optimizer.step()
    return error.item()


@pytest.mark.parametrize("image_size", [16, 33, 100, 224])
def test_images_have_any_prepared_size_and_the_range(image_size):
    model = build(LatentOptions(channels=16), context(image_size))
    image = model(random_narrative(2, width=8, image_size=image_size))
    assert image.shape == (2, 3, image_size, image_size)
    assert image.min() >= 0
    assert image.max() <= 1


def test_autoencoder_reconstructs_training_images():
    images = halves()
    learnt = train_decoder(frames(images), image_size=16, steps=100, device=CPU).eval()
    wanted = torch.from_numpy(images[:1]).movedim(-1, 1) / 255
    assert nearest_drawing(learnt, wanted) < 0.01
    strange = torch.rand(1, 3, 16, 16)
    assert nearest_drawing(learnt, strange) > 0.05


def test_autoencoder_training_is_deterministic():
    models = []
    for steps in (2, 2, 3):
        torch.manual_seed(3)
        model = build(LatentOptions(channels=16, autoencoder_steps=steps), context())
        before = {name: value.clone() for name, value in model.state_dict().items()}
        assert isinstance(model, FitsTraining)
        model.fit(frames(halves()))
        changed = {name for name, value in model.state_dict().items() if not value.equal(before[name])}
        assert changed == {name for name in before if name.startswith("decoder.")} == frozen_names(model)
        models.append(model.state_dict())
    one, other, longer = models
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(one["decoder.layers.0.weight"], longer["decoder.layers.0.weight"])


def test_only_the_projection_to_the_latent_trains():
    model = build(LatentOptions(channels=16, autoencoder_steps=1), context())
    model.fit(frames(halves()))
    model.train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model.loss(model(random_narrative(2, width=8)), torch.rand(2, 3, 16, 16)).backward()
    frozen = {name for name in model.state_dict() if name.startswith("decoder.")}
    assert frozen
    assert frozen_names(model) == frozen
    for name, weight in model.named_parameters():
        assert (weight.grad is None) if name in frozen else (weight.grad.abs().sum() > 0), name
    assert torch.equal(model(random_narrative(2, width=8)), model(random_narrative(2, width=8))), (
        "no noise is added to what is predicted"
    )


def test_noise_is_added_in_autoencoder_training():
    decoder, latent = LatentDecoder(image_size=16), torch.zeros(1, 4, 2, 2)
    assert not torch.equal(decoder(latent), decoder(latent))


def test_stored_autoencoder_is_not_trained_again(train_small, tmp_path, monkeypatch):
    settings = ("image_decoder.name=latent", "image_decoder.autoencoder_steps=3", "training.epochs=1")
    run = train_small(tmp_path / "run", *settings)
    frozen = (run.folder / "frozen.safetensors").read_bytes()
    monkeypatch.setattr("vsr_plugins.image_decoders.latent.train_decoder", lambda *_, **__: pytest.fail("again"))
    resume_train(registry(), run.folder, data=None, epochs=2)
    assert (run.folder / "frozen.safetensors").read_bytes() == frozen
    one, other = (load_model(run, registry(), which=which).image_decoder for which in ("best", "last"))
    assert all(torch.equal(value, other.decoder.state_dict()[name]) for name, value in one.decoder.state_dict().items())


def test_autoencoder_needs_a_training_split(train_small, tmp_path):
    settings = ["dataset.stories=1", "dataset.width=64", "dataset.height=64", "data.image_size=32", "data.split=test"]
    config = prepare_config(registry(), dataset="storyworld", preset="tiny", flags={}, assignments=settings)
    data = run_prepare(config, None, tmp_path / "data").folder
    with pytest.raises(VsrError, match="no window is in the train split; prepare more stories"):
        train_small(tmp_path / "run", "image_decoder.name=latent", data=data)
