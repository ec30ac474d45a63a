import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vsr_cli.api import BuildContext, Context, Narrative, VsrError
from vsr_plugins.image_decoders import DeconvOptions
from vsr_plugins.image_decoders.deconv import Deconv, start_size

torch.set_num_threads(1)  # at these sizes a pool of threads costs more than it saves


def decoder(image_size, width=16, channels=32):
    torch.manual_seed(0)
    context = BuildContext(width=width, steps=4, image_size=image_size, training_texts=list)
    return Deconv(DeconvOptions(channels=channels), context)


def narrative(batch, width=16) -> Narrative:
    frames = torch.randn(batch, 4, width, generator=torch.Generator().manual_seed(0))
    ids = torch.zeros(batch, 4, 5, dtype=torch.long)
    context = Context(
        visual=frames,
        text=frames,
        text_ids=ids,
        text_mask=ids == 0,
        mask=ids[..., 0] == 0,
        last_image=torch.zeros(batch, 3, 8, 8),
        story=torch.arange(batch),
        text_row=ids[..., 0],
        texts=[["A dog runs."] * 4] * batch,
        images=lambda: torch.zeros(batch, 4, 3, 8, 8),
    )
    return Narrative(steps=frames, summary=frames[:, -1], visual=frames, text=frames, context=context)


@pytest.mark.parametrize(
    ("batch", "width", "image_size", "channels"),
    [(1, 8, 10, 16), (2, 16, 64, 24), (3, 5, 96, 40), (1, 16, 224, 256)],
)
def test_images_have_the_prepared_size_and_range(batch, width, image_size, channels):
    image = decoder(image_size, width, channels)(narrative(batch, width))
    assert image.shape == (batch, 3, image_size, image_size)
    assert image.min() >= 0
    assert image.max() <= 1


@pytest.mark.parametrize(("image_size", "start"), [(224, (7, 5)), (64, (8, 3)), (96, (6, 4)), (10, (5, 1))])
def test_start_size_of_known_sizes(image_size, start):
    assert start_size(image_size) == start


@given(st.integers(1, 2048))
def test_a_start_leads_to_the_size_or_is_refused(image_size):
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


def test_build_refuses_a_size_that_it_cannot_draw():
    with pytest.raises(VsrError, match="100 pixels"):
        decoder(100)


def test_loss_is_the_mean_squared_error():
    model = decoder(16)
    target = torch.rand(2, 3, 16, 16)
    prediction = model(narrative(2))
    torch.testing.assert_close(model.loss(prediction, target), ((prediction - target) ** 2).mean())
    assert model.loss(target, target) == 0


def test_gradients_reach_every_parameter():
    model = decoder(32)
    model.loss(model(narrative(2)), torch.rand(2, 3, 32, 32)).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())


def test_an_image_depends_on_its_own_summary_alone():
    model = decoder(32)
    both = model(narrative(2))
    alone = model(narrative(1))
    torch.testing.assert_close(both[:1], alone)
    assert not torch.allclose(both[0], both[1])


def test_it_learns_to_draw_two_images():
    model = decoder(16, channels=64)
    told = narrative(2)
    target = torch.zeros(2, 3, 16, 16)
    target[0, 0, :8] = 1
    target[1, 2, :, 8:] = 1
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        loss = model.loss(model(told), target)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.01
