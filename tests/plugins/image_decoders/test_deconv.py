import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vsr_cli.api import BuildContext, VsrError
from vsr_plugins.image_decoders import DeconvOptions
from vsr_plugins.image_decoders.deconv import Deconv, start_size

from ..narratives import random_narrative

torch.set_num_threads(1)  # at these sizes a pool of threads costs more than it saves


def decoder(image_size, width=16, channels=32):
    torch.manual_seed(0)
    context = BuildContext(width=width, steps=4, image_size=image_size, training_texts=list)
    return Deconv(DeconvOptions(channels=channels), context)


@pytest.mark.parametrize(
    ("batch", "width", "image_size", "channels"),
    [(1, 8, 10, 16), (2, 16, 64, 24), (3, 5, 96, 40), (1, 16, 224, 256)],
)
def test_images_have_the_prepared_size_and_range(batch, width, image_size, channels):
    image = decoder(image_size, width, channels)(random_narrative(batch, width=width))
    assert image.shape == (batch, 3, image_size, image_size)
    assert image.min() >= 0
    assert image.max() <= 1


@pytest.mark.parametrize(("image_size", "start"), [(224, (7, 5)), (64, (8, 3)), (96, (6, 4)), (10, (5, 1))])
def test_start_size_of_known_sizes(image_size, start):
    assert start_size(image_size) == start


@given(st.integers(1, 2048))
def test_start_size_reaches_the_image_size_or_is_refused(image_size):
    reachable = any(image_size == start * 2**doublings for start in range(1, 9) for doublings in range(1, 12)) and (
        image_size > 8
    )
    if reachable:
        start, doublings = start_size(image_size)
        assert start * 2**doublings == image_size
        assert start <= 8
        assert doublings >= 1
    else:
        with pytest.raises(VsrError, match=f"images of {image_size} pixels.*choose an image size"):
            start_size(image_size)


def test_unsupported_image_size_is_refused():
    with pytest.raises(VsrError, match="100 pixels"):
        decoder(100)


def test_loss_is_the_mean_squared_error():
    model = decoder(16)
    target = torch.rand(2, 3, 16, 16)
    prediction = model(random_narrative(2))
    torch.testing.assert_close(model.loss(prediction, target), ((prediction - target) ** 2).mean())
    assert model.loss(target, target) == 0
