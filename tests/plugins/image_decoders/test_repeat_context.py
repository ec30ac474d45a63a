"""The image decoder `repeat-context`: which image of the context it repeats."""

import torch

from vsr_cli.api import BuildContext, Options
from vsr_plugins.image_decoders.repeat_context import RepeatContextImageDecoder

from ..narratives import make_context, make_narrative

IMAGES = torch.rand(1, 4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
FRAMES = torch.tensor([[[-4.0, 0.0], [0.3, 0.4], [5.0, 0.0], [0.0, 1.0]]])
"""The mean of their directions, weighted by 1 to 4, is (3.2, 5.6) / 10: nearest to the second, 0.6 and 0.8."""


def decoder(features=(2,)):
    return RepeatContextImageDecoder(
        Options(),
        BuildContext(width=2, steps=4, image_size=8, training_texts=list, visual_features=features),
    )


def narrative(vectors, **given):
    return make_narrative(make_context(vectors, images=lambda: IMAGES, last_image=IMAGES[:, -1], **given))


def test_the_image_nearest_to_the_mean_of_all_is_repeated_as_it_stands():
    assert decoder().choose(narrative(FRAMES)).item() == 1
    assert torch.equal(decoder()(narrative(FRAMES))[0], IMAGES[0, 1])


def test_features_are_averaged_over_positions():
    maps = FRAMES[..., None, None].expand(-1, -1, -1, 3, 3) + torch.tensor([-1.0, 0.0, 1.0])
    patches = maps.flatten(3).transpose(2, 3)
    wanted = decoder().choose(narrative(FRAMES))
    for features, shape in ((maps, (2, 3, 3)), (patches, (9, 2))):
        context = make_context(FRAMES, visual=features)
        assert torch.equal(decoder(shape).choose(make_narrative(context, summary=FRAMES[:, -1])), wanted)


def test_an_encoder_without_a_frozen_half_is_compared_by_its_embeddings():
    context = make_context(FRAMES, visual=torch.rand(1, 4, 3, 8, 8))
    read = make_narrative(context, visual=FRAMES, summary=FRAMES[:, -1])
    assert torch.equal(decoder((3, 8, 8)).choose(read), decoder().choose(narrative(FRAMES)))


def test_a_repeated_frame_is_no_candidate():
    vectors = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]])
    mask = torch.tensor([[True, False, False, False]])
    assert decoder().choose(narrative(vectors, mask=mask)).item() == 0
