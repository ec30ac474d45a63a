import pytest
import torch

from vsr_cli.api import BuildContext
from vsr_plugins.image_decoders import ResizeConvolutionOptions
from vsr_plugins.image_decoders.resize_convolution import Residual, Upsample, sizes_up_to

from ..narratives import random_narrative

torch.set_num_threads(1)  # at these sizes a pool of threads costs more than it saves
BOTH = pytest.mark.parametrize("build", [Upsample, Residual])


def decoder(build, image_size=32, *, width=16, channels=32, **options):
    torch.manual_seed(0)
    context = BuildContext(width=width, steps=4, image_size=image_size, training_texts=list)
    return build(ResizeConvolutionOptions(channels=channels, **options), context)


@BOTH
@pytest.mark.parametrize(
    ("batch", "width", "image_size", "channels"), [(1, 8, 16, 16), (2, 16, 100, 24), (3, 5, 33, 40), (1, 16, 224, 64)]
)
def test_images_have_any_prepared_size_and_the_range(build, batch, width, image_size, channels):
    image = decoder(build, image_size, width=width, channels=channels)(
        random_narrative(batch, width=width, image_size=image_size)
    )
    assert image.shape == (batch, 3, image_size, image_size)
    assert image.min() >= 0
    assert image.max() <= 1


@pytest.mark.parametrize(
    ("image_size", "sizes"),
    [(224, [7, 14, 28, 56, 112, 224]), (64, [8, 16, 32, 64]), (100, [7, 13, 25, 50, 100]), (6, [3, 6])],
)
def test_sizes_halve_down_to_a_start(image_size, sizes):
    assert sizes_up_to(image_size) == sizes


def test_residual_starts_as_a_copy_and_learns():
    model, narrative = decoder(Residual, 16, channels=64), random_narrative(2, image_size=16)
    last = narrative.context.last_image
    assert (model(narrative) - last).abs().max() < 0.12
    target = last.clone()
    target[:, :, 4:12, 4:12] = torch.tensor([1.0, 0.0, 0.0])[:, None, None]
    copying = torch.nn.functional.mse_loss(last, target).item()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(150):
        optimizer.zero_grad()
        loss = model.loss(model(narrative), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] < 1.05 * copying
    assert losses[-1] < 0.1 * copying
