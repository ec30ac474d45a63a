from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from vsr_cli.api import BuildContext, NextText, Vocabulary, VsrError
from vsr_cli.data.images import fit_image
from vsr_cli.model.weights import load_model
from vsr_cli.plugin.discovery import registry
from vsr_cli.workflows.training import resume_train
from vsr_plugins.datasets.storyworld.drawing import Illustrator
from vsr_plugins.datasets.storyworld.world import draw_world, scene_at
from vsr_plugins.image_decoders import TokensOptions
from vsr_plugins.image_decoders.tokens import Tokens
from vsr_plugins.image_decoders.tokens_autoencoder import Autoencoder, ScalarQuantizer, read_autoencoder
from vsr_plugins.text_encoders.learned_vocabulary import learn_vocabulary

from ..narratives import make_context, make_narrative

torch.set_num_threads(1)  # at these sizes a pool of threads costs more than it saves

SMALL = {"autoencoder_steps": 2, "levels": (3, 3), "width": 32, "layers": 1, "patch": 4}
WORDS = ["a red square", "a blue square"]


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return learn_vocabulary(WORDS, size=400)


@pytest.fixture
def build(vocabulary):
    def build(image_size=8, **options):
        torch.manual_seed(0)
        context = BuildContext(
            width=16,
            steps=4,
            image_size=image_size,
            training_texts=list,
            vocabulary=vocabulary,
            visual_features=(3, image_size, image_size),
            text_features=(6,),
        )
        return Tokens(TokensOptions(**SMALL | options), context).eval()

    return build


@pytest.fixture
def read(vocabulary):
    def read(texts):
        tokens = vocabulary.encode(texts, length=6)
        ids, mask = torch.from_numpy(tokens.ids), torch.from_numpy(tokens.mask)
        return NextText(texts=texts, ids=ids, mask=mask, features=ids)

    return read


def narrative(images):
    """Return a narrative that differs between stories by its images (B, K, 3, H, W) only."""
    frames = torch.zeros(len(images), images.shape[1], 16)
    return make_narrative(make_context(frames, images=lambda: images, last_image=images[:, -1]))


def train(model, steps, batch):
    """Train on what `batch` returns, without changing the autoencoder."""
    optimizer = torch.optim.Adam([weight for weight in model.parameters() if weight.requires_grad], lr=5e-3)
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        model.loss(*batch()).backward()
        optimizer.step()
    return model.eval()


def test_codes_and_levels_are_inverse():
    quantizer = ScalarQuantizer((3, 5, 7))
    codes = torch.arange(3 * 5 * 7).view(1, 1, -1)
    levels = quantizer.levels_of(codes)
    assert len({tuple(level) for level in levels[0, :, 0].T.tolist()}) == 105
    assert levels.abs().max() == 1
    assert torch.equal(quantizer.codes_of(levels), codes)
    assert torch.equal(quantizer.codes_of(quantizer(levels.clamp(-0.999, 0.999).atanh())), codes)


@pytest.mark.parametrize(("image_size", "patch", "side"), [(16, 4, 4), (33, 8, 5), (100, 16, 7), (64, 32, 2)])
def test_images_have_any_prepared_size_and_the_range(image_size, patch, side):
    autoencoder = Autoencoder(levels=(3, 3), image_size=image_size, patch=patch)
    codes = autoencoder.encode(torch.rand(2, 3, image_size, image_size))
    assert codes.shape == (2, side * side)
    images = autoencoder.decode(codes)
    assert images.shape == (2, 3, image_size, image_size)
    assert images.min() >= 0
    assert images.max() <= 1


def test_the_same_codes_are_the_same_image_whatever_else_is_decoded():
    torch.manual_seed(0)
    autoencoder = Autoencoder(levels=(5, 5, 5, 5), image_size=64, patch=8)
    read_autoencoder(autoencoder, "storyworld")
    codes = torch.randint(625, (9, 64))
    together = autoencoder.decode(codes)
    for row in range(9):
        assert torch.equal(together[row], autoencoder.decode(codes[row : row + 1])[0])


def test_shipped_autoencoder_reconstructs_unseen_images_of_storyworld():
    illustrator, world = Illustrator(width=480, height=208), draw_world(123_456, 0)
    files = [illustrator.draw(scene_at(world, t), sway=world.sway[t]).jpeg for t in range(len(world))]
    pixels = np.stack([fit_image(Image.open(BytesIO(file)), 64, "stretch") for file in files])
    images = torch.from_numpy(pixels).movedim(-1, 1).float() / 255
    autoencoder = Autoencoder(levels=(5, 5, 5, 5), image_size=64, patch=8)
    read_autoencoder(autoencoder, "storyworld")
    error = (autoencoder.decode(autoencoder.encode(images)) - images).square().mean()
    assert error < 0.0015, "a gray image has an error of about 0.05"


def test_what_stays_is_copied_exactly_even_if_its_codes_were_never_seen(build, read):
    model = build(guidance=0, temperature=0.01)
    known, unseen = torch.arange(4), torch.arange(4, 8)  # codes

    def batch(codes, size=16):
        chosen = codes[torch.randint(len(codes), (size, 4, model.transformer.positions))]
        images = model.autoencoder.decode(chosen.flatten(0, 1)).unflatten(0, (size, 4))
        model._codes = lambda asked: chosen.flatten(0, 1) if len(asked) > size else chosen[:, -1]
        return narrative(images), read([WORDS[0]] * size), images[:, -1]

    train(model, 160, lambda: batch(known))
    story, text, last = batch(unseen)
    assert torch.equal(model.generate(story, text, 0), last)


def test_image_follows_its_text(build, read):
    model = build(guidance=1.0, temperature=0.1, word_dropout=0.0)
    codes = torch.tensor([[0] * 4, [8] * 4])  # of the images that the two texts describe
    images = torch.rand(16, 4, 3, 8, 8)
    which = torch.arange(16) % 2
    texts = read([WORDS[row] for row in which.tolist()])
    encode = model._codes
    model._codes = lambda asked: codes[which] if len(asked) == 16 else encode(asked)
    train(model, 60, lambda: (narrative(images), texts, images[:, 0]))
    assert torch.equal(model.generate(narrative(images), texts, 0), model.autoencoder.decode(codes[which]))
    model.generate(narrative(images), read([""] * 16), 0)


def test_padded_frame_has_no_effect(build, read):
    model = build()
    images = torch.rand(2, 4, 3, 8, 8)
    text, mask = read(WORDS), torch.tensor([[True, True, True, False]] * 2)
    other = torch.cat([images[:, :3], torch.rand(2, 1, 3, 8, 8)], dim=1)
    stories = [narrative(each) for each in (images, other)]
    losses = [
        model.loss(replace(story, context=replace(story.context, mask=mask)), text, images[:, 0]) for story in stories
    ]
    assert torch.equal(*losses)
    assert not torch.equal(*(model.loss(story, text, images[:, 0]) for story in stories))


def test_everything_but_the_autoencoder_trains(build, read):
    model = build().train()
    model.loss(narrative(torch.rand(8, 4, 3, 8, 8)), read(WORDS * 4), torch.rand(8, 3, 8, 8)).backward()
    for name, weight in model.named_parameters():
        assert (weight.grad is None) == name.startswith("autoencoder."), name


def test_autoencoder_is_trained_once_and_can_be_reused(train_small, tmp_path, monkeypatch):
    settings = ["image_decoder.name=tokens", "training.epochs=1"]
    settings += [f"image_decoder.{name}={value}" for name, value in SMALL.items() if name not in ("levels", "patch")]
    run = train_small(tmp_path / "run", *settings)
    frozen = (run.folder / "frozen.safetensors").read_bytes()
    monkeypatch.setattr("vsr_plugins.image_decoders.tokens.train_autoencoder", lambda *_, **__: pytest.fail("again"))
    resume_train(registry(), run.folder, data=None, epochs=2)
    assert (run.folder / "frozen.safetensors").read_bytes() == frozen
    stored = run.assets / "image_decoder" / "autoencoder.safetensors"
    reused = load_model(train_small(tmp_path / "other", *settings, f"image_decoder.autoencoder={stored}"), registry())
    before = load_model(run, registry()).image_decoder.autoencoder.state_dict()
    for name, value in reused.image_decoder.autoencoder.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"autoencoder": "nowhere"}, "image_decoder.autoencoder=nowhere: there is no such file; name 'storyworld' or"),
        (
            {"autoencoder": "storyworld"},
            "is no autoencoder, or one of other levels or another patch; set image_decoder.levels and patch",
        ),
    ],
)
def test_unusable_autoencoder_is_one_line(build, options, message):
    with pytest.raises(VsrError) as caught:
        build(**options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"levels": "5, 4"}, "each must be odd"),
        ({"levels": "15,15,15,15"}, "their product must be at most 8192"),
        ({"temperature": 1e-45}, "greater than or equal to 0.01"),
        ({"guidance": 1e30}, "less than or equal to 100"),
        ({"steps": 10**9}, "less than or equal to 1000"),
    ],
)
def test_options_that_no_image_comes_from_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TokensOptions(**options)
