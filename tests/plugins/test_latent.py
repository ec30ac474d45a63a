import numpy as np
import pytest
import torch

from vsr_cli.api import BuildContext, Context, Narrative, VsrError
from vsr_cli.data.shards import ArrayRows
from vsr_cli.model.weights import frozen_names
from vsr_plugins.resize_convolution import LatentOptions
from vsr_plugins.resize_convolution.autoencoder import LatentDecoder, learn_decoder
from vsr_plugins.resize_convolution.latent import build

torch.set_num_threads(1)  # at these sizes a pool of threads costs more than it saves


def halves(size=16):
    """Give images (2, size, size, 3) of which one is red above and the other blue on the right."""
    images = np.zeros((2, size, size, 3), np.uint8)
    images[0, : size // 2, :, 0] = 255
    images[1, :, size // 2 :, 2] = 255
    return images


def context(image_size=16, *, images=None, assets=None):
    rows = None if images is None else lambda: ArrayRows(images)
    return BuildContext(
        width=8, steps=4, image_size=image_size, training_texts=list, training_images=rows, assets=assets
    )


def narrative(batch, image_size=16) -> Narrative:
    frames = torch.randn(batch, 4, 8, generator=torch.Generator().manual_seed(0))
    ids = torch.zeros(batch, 4, 5, dtype=torch.long)
    told = Context(
        visual=frames,
        text=frames,
        text_ids=ids,
        text_mask=ids == 0,
        mask=ids[..., 0] == 0,
        last_image=torch.zeros(batch, 3, image_size, image_size),
        story=torch.arange(batch),
        text_row=ids[..., 0],
    )
    return Narrative(steps=frames, summary=frames[:, -1], visual=frames, text=frames, context=told)


def nearest_drawing(decoder, wanted, *, steps=100):
    """Give the error that is left of an image when the latent is searched for that draws it best."""
    latent = torch.zeros(1, decoder.latent_channels, decoder.latent_size, decoder.latent_size, requires_grad=True)
    optimizer = torch.optim.Adam([latent], lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        error = (decoder(latent) - wanted).square().mean()
        error.backward()
        optimizer.step()
    return error.item()


@pytest.mark.parametrize("image_size", [16, 33, 100, 224])
def test_images_have_any_prepared_size_and_the_range(image_size, tmp_path):
    model = build(LatentOptions(channels=16), context(image_size, assets=tmp_path))
    image = model(narrative(2, image_size))
    assert image.shape == (2, 3, image_size, image_size)
    assert image.min() >= 0
    assert image.max() <= 1


def test_what_it_learnt_from_can_be_drawn_in_its_latent_space():
    images = halves()
    learnt = learn_decoder(ArrayRows(images), image_size=16, steps=100).eval()
    wanted = torch.from_numpy(images[:1]).movedim(-1, 1) / 255
    assert nearest_drawing(learnt, wanted) < 0.01
    strange = torch.rand(1, 3, 16, 16)
    assert nearest_drawing(learnt, strange) > 0.05


def test_learning_is_repeatable():
    images = ArrayRows(halves())
    torch.manual_seed(3)
    one = learn_decoder(images, image_size=16, steps=2).state_dict()
    torch.manual_seed(3)
    other = learn_decoder(images, image_size=16, steps=2).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_only_the_way_to_the_latent_trains():
    model = build(LatentOptions(channels=16, autoencoder_steps=1), context(images=halves())).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model.loss(model(narrative(2)), torch.rand(2, 3, 16, 16)).backward()
    frozen = {name for name in model.state_dict() if name.startswith("decoder.")}
    assert frozen
    assert frozen_names(model) == frozen
    for name, weight in model.named_parameters():
        assert (weight.grad is None) if name in frozen else (weight.grad.abs().sum() > 0), name
    assert torch.equal(model(narrative(2)), model(narrative(2))), "no noise is added to what is predicted"


def test_noise_is_added_while_the_autoencoder_learns():
    decoder, latent = LatentDecoder(image_size=16), torch.zeros(1, 4, 2, 2)
    assert not torch.equal(decoder(latent), decoder(latent))


@pytest.mark.parametrize("images", [None, halves()[:0]])
def test_without_images_there_is_nothing_to_learn_from(images):
    with pytest.raises(VsrError, match=r"no autoencoder can be learnt.*choose a dataset"):
        build(LatentOptions(), context(images=images))
