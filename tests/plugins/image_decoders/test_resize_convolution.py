import pytest
import torch

from vsr_cli.api import BuildContext, Context, Narrative
from vsr_plugins.image_decoders import ResizeConvolutionOptions
from vsr_plugins.image_decoders.resize_convolution import Residual, Upsample, sizes_up_to

torch.set_num_threads(1)  # at these sizes a pool of threads costs more than it saves
BOTH = pytest.mark.parametrize("build", [Upsample, Residual])


def decoder(build, image_size=32, *, width=16, channels=32, **options):
    torch.manual_seed(0)
    context = BuildContext(width=width, steps=4, image_size=image_size, training_texts=list)
    return build(ResizeConvolutionOptions(channels=channels, **options), context)


def narrative(batch, image_size=32, width=16) -> Narrative:
    numbers = torch.Generator().manual_seed(0)
    frames = torch.randn(batch, 4, width, generator=numbers)
    ids = torch.zeros(batch, 4, 5, dtype=torch.long)
    context = Context(
        visual=frames,
        text=frames,
        text_ids=ids,
        text_mask=ids == 0,
        mask=ids[..., 0] == 0,
        last_image=torch.rand(batch, 3, image_size, image_size, generator=numbers),
        story=torch.arange(batch),
        text_row=ids[..., 0],
        texts=[["A dog runs."] * 4] * batch,
        images=lambda: torch.zeros(batch, 4, 3, image_size, image_size),
    )
    return Narrative(steps=frames, summary=frames[:, -1], visual=frames, text=frames, context=context)


@BOTH
@pytest.mark.parametrize(
    ("batch", "width", "image_size", "channels"), [(1, 8, 16, 16), (2, 16, 100, 24), (3, 5, 33, 40), (1, 16, 224, 64)]
)
def test_images_have_any_prepared_size_and_the_range(build, batch, width, image_size, channels):
    image = decoder(build, image_size, width=width, channels=channels)(narrative(batch, image_size, width))
    assert image.shape == (batch, 3, image_size, image_size)
    assert image.min() >= 0
    assert image.max() <= 1


@pytest.mark.parametrize(
    ("image_size", "sizes"),
    [(224, [7, 14, 28, 56, 112, 224]), (64, [8, 16, 32, 64]), (100, [7, 13, 25, 50, 100]), (6, [3, 6])],
)
def test_sizes_halve_down_to_a_start(image_size, sizes):
    assert sizes_up_to(image_size) == sizes


@BOTH
def test_the_loss_is_the_mean_squared_error(build):
    target, model = torch.rand(2, 3, 32, 32), decoder(build)
    image = model(narrative(2))
    torch.testing.assert_close(model.loss(image, target), ((image - target) ** 2).mean())


@BOTH
def test_gradients_reach_every_parameter_also_in_mixed_precision(build):
    model, told = decoder(build), narrative(2)
    expected = model(told)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        image = model(told)
        model.loss(image, torch.rand(2, 3, 32, 32)).backward()
    torch.testing.assert_close(image.float(), expected, atol=0.05, rtol=0.05)
    assert [name for name, weight in model.named_parameters() if not weight.grad.abs().sum() > 0] == []


@BOTH
def test_an_image_depends_on_its_own_story_alone(build):
    model = decoder(build)
    both = model(narrative(2))
    told = narrative(2)
    alone = Narrative(
        steps=told.steps[1:],
        summary=told.summary[1:],
        visual=told.visual[1:],
        text=told.text[1:],
        context=told.context.take([1]),
    )
    torch.testing.assert_close(model(alone), both[1:])


def train(model, told, target, *, steps):
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = model.loss(model(told), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_upsample_learns_to_draw_two_images():
    target = torch.zeros(2, 3, 16, 16)
    target[0, 0, :8] = 1
    target[1, 2, :, 8:] = 1
    assert train(decoder(Upsample, 16, channels=64), narrative(2, 16), target, steps=80)[-1] < 0.01


def test_residual_starts_near_a_copy_and_learns_where_to_draw():
    model, told = decoder(Residual, 16, channels=64), narrative(2, 16)
    last = told.context.last_image
    assert (model(told) - last).abs().max() < 0.12
    target = last.clone()
    target[:, :, 4:12, 4:12] = torch.tensor([1.0, 0.0, 0.0])[:, None, None]
    copying = torch.nn.functional.mse_loss(last, target).item()
    losses = train(model, told, target, steps=150)
    assert losses[0] < 1.05 * copying
    assert losses[-1] < 0.1 * copying
