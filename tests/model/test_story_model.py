import inspect

import numpy as np
import pytest
import torch
from torch import nn

from vsr_cli.api import Context, Decoding, Narrative, Target, TargetFeatures, TokenBatch
from vsr_cli.config.schema import ObjectiveOptions
from vsr_cli.errors import PluginError, VsrError
from vsr_cli.model.losses.term import TermRequest, build_terms
from vsr_cli.model.parts import Parts
from vsr_cli.model.story_model import StoryModel

B, K, D, L, T, H = 3, 4, 8, 5, 6, 16


class Reader(nn.Module):
    """An encoder's trained half: one linear layer over features."""

    def __init__(self, features):
        super().__init__()
        self.layer = nn.Linear(features, D)

    def tokenize(self, texts):
        ids = np.array([[len(text)] * L for text in texts])
        return TokenBatch(ids=ids, mask=ids > 0)

    def frozen(self, ids, mask):
        return ids[:, :1].float().expand(-1, 9)

    def forward(self, features, mask=None):
        assert features.dim() == 2  # (N, F): stories and frames are one axis for an encoder
        assert mask is None or mask.shape == (len(features), L)
        return self.layer(features)


class Sum(nn.Module):
    def forward(self, visual, text):
        assert visual.shape == text.shape == (B, K, D)
        return visual + text


class Cumulative(nn.Module):
    def forward(self, frames, mask):
        assert mask.shape == frames.shape[:2]
        steps = frames.cumsum(dim=1)
        return steps, steps[:, -1]


class Writer(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(D, T)

    def loss(self, narrative, ids, mask):
        return (self.layer(narrative.summary) - ids).square()[mask].mean()

    def generate(self, narrative, decoding):
        return self.layer(narrative.summary).round().long()

    def detokenize(self, ids):
        return [" ".join(map(str, row)) for row in ids.tolist()]


class Painter(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(D, 3 * H * H)

    def forward(self, narrative):
        return self.layer(narrative.summary).reshape(-1, 3, H, H)

    def loss(self, prediction, target):
        return (prediction - target).abs().mean()


class WordPainter(nn.Module):
    """A generative decoder whose pixels show what it was given; `given` are all its texts."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(9, 1)
        self.given = []

    def loss(self, narrative, text, target):
        self.given.append(text)
        return (self.layer(text.features) - target.mean(dim=(1, 2, 3))[:, None]).square().mean()

    def generate(self, narrative, text, seed):
        self.given.append(text)
        lengths = torch.tensor([len(each) for each in text.texts])
        return (lengths / 100 + seed / 1000)[:, None, None, None].expand(-1, 3, H, H)


def make_model(weights, painter=Painter):
    torch.manual_seed(0)
    parts = Parts(
        visual=Reader(7),
        text=Reader(9),
        fusion=Sum(),
        temporal=Cumulative(),
        text_decoder=Writer(),
        image_decoder=painter(),
    )
    request = TermRequest(objective=weights, parts=parts, width=D, steps=4, read_weights=True)
    return StoryModel(parts, weights, build_terms(request))


@pytest.fixture
def model():
    return make_model(ObjectiveOptions(text=0.7, image=3.0, alignment=0.2))


@pytest.fixture
def context():
    return Context(
        visual=torch.randn(B, K, 7),
        text=torch.randn(B, K, 9),
        text_ids=torch.zeros(B, K, L, dtype=torch.long),
        text_mask=torch.ones(B, K, L, dtype=torch.bool),
        mask=torch.ones(B, K, dtype=torch.bool),
        last_image=torch.rand(B, 3, H, H),
        story=torch.arange(B),
        text_row=torch.arange(B * K).reshape(B, K),
        texts=[[f"text {story} {frame}" for frame in range(K)] for story in range(B)],
        images=lambda: torch.zeros(B, K, 3, H, H),
    )


@pytest.fixture
def target():
    mask = torch.ones(B, T, dtype=torch.bool)
    mask[1, 3:] = False
    rows = torch.arange(B)
    features = TargetFeatures(
        visual=torch.randn(B, 7),
        text=torch.randn(B, 9),
        text_ids=torch.ones(B, L, dtype=torch.long),
        text_mask=torch.ones(B, L, dtype=torch.bool),
        image_row=rows,
        text_row=rows,
        place=rows,
    )
    texts = [f"target {story}" for story in range(B)]
    ids = torch.randint(0, 9, (B, T))
    return Target(ids=ids, mask=mask, image=torch.rand(B, 3, H, H), texts=texts, features=features)


def test_the_narrative_has_the_specified_shapes_and_contains_the_context(model, context):
    narrative = model.encode_context(context)
    assert narrative.steps.shape == narrative.visual.shape == narrative.text.shape == (B, K, D)
    assert narrative.summary.shape == (B, D)
    assert narrative.context is context


@pytest.mark.parametrize(
    ("section", "wrong", "words"),
    [
        (
            "visual",
            lambda embedding: embedding[1:],
            r"visual encoder \S+ of \S+: returns embeddings .*\(11, 8\), not \(12, 8\)",
        ),
        ("text", lambda embedding: embedding[:, 1:], r"text encoder .*: returns embeddings .*\(12, 7\), not \(12, 8\)"),
        ("fusion", lambda joined: joined.mean(1), r"fusion .*: returns joined embeddings .*\(3, 8\), not \(3, 4, 8\)"),
        ("temporal", lambda pair: (pair[1], pair[1]), r"temporal model .*: returns steps .*\(3, 8\), not \(3, 4, 8\)"),
        ("temporal", lambda pair: (pair[0], None), r"temporal model .*: returns a summary .*a NoneType, not \(3, 8\)"),
        (
            "temporal",
            lambda pair: pair[0],
            r"temporal model .*: returns \(3, 4, 8\), not a pair of steps .* and summary",
        ),
        ("visual", lambda _: "words", r"visual encoder .*: returns embeddings .*a str, not \(12, any\)"),
        (
            "image_decoder",
            lambda image: image[..., 1:],
            r"image decoder .*: returns images .*15\), not \(3, 3, 16, 16\)",
        ),
    ],
)
def test_a_part_that_returns_a_wrong_shape_is_named(model, context, target, section, wrong, words):
    part = getattr(model, section)
    part.register_forward_hook(lambda _part, _given, result: wrong(result))
    with pytest.raises(PluginError, match=words) as caught:
        model(context, target)
    assert "\n" not in str(caught.value)


def test_each_frame_is_embedded_at_its_own_position(model, context):
    narrative = model.encode_context(context)
    assert torch.allclose(narrative.visual[1, 2], model.visual(context.visual[1, 2][None])[0])
    assert torch.allclose(narrative.text[2, 3], model.text(context.text[2, 3][None])[0])
    assert torch.allclose(narrative.steps[:, 0], narrative.visual[:, 0] + narrative.text[:, 0])


def test_the_loss_is_the_weighted_sum_of_its_three_terms(model, context, target):
    losses = model(context, target)
    assert set(losses) == {"loss", "text", "image", "alignment"}
    assert all(loss.shape == () for loss in losses.values())
    summed = 0.7 * losses["text"] + 3.0 * losses["image"] + 0.2 * losses["alignment"]
    assert torch.allclose(losses["loss"], summed)


def test_the_terms_are_those_of_the_parts(model, context, target):
    losses, narrative = model(context, target), model.encode_context(context)
    assert torch.equal(losses["text"], model.text_decoder.loss(narrative, target.ids, target.mask))
    assert torch.equal(losses["image"], (model.image_decoder(narrative) - target.image).abs().mean())
    assert torch.equal(losses["alignment"], model.terms["alignment"].loss(narrative.visual, narrative.text, context))


def test_image_terms_apply_to_every_image_decoder(context, target):
    """The painter knows nothing of them, and its own loss stays its own."""
    model = make_model(ObjectiveOptions(text=0, image=0, alignment=0, l1=2.0, ssim=0.5))
    losses, image = model(context, target), model.image_decoder(model.encode_context(context))
    assert list(losses) == ["loss", "text", "l1", "ssim", "alignment"]
    assert torch.equal(losses["l1"], (image - target.image).abs().mean())
    assert torch.allclose(losses["loss"], 2.0 * losses["l1"] + 0.5 * losses["ssim"])
    losses["loss"].backward()
    assert model.image_decoder.layer.weight.grad.any()
    assert model.text_decoder.layer.weight.grad is None or not model.text_decoder.layer.weight.grad.any()


def test_image_terms_of_an_image_without_gradient_are_refused_in_training_only(context, target):
    model = make_model(ObjectiveOptions(l1=1.0, ssim=1.0))
    model.image_decoder.register_forward_hook(lambda _part, _given, image: image.detach())
    words = r"^image decoder Painter: .* no gradient, .* objective\.l1; set it to 0, or choose .*$"
    with pytest.raises(VsrError, match=words):
        model(context, target)
    with torch.no_grad():
        assert model(context, target)["l1"] > 0


def test_an_image_without_weight_is_not_generated_in_training(context, target):
    model = make_model(ObjectiveOptions(image=0))
    model.image_decoder.register_forward_hook(lambda *_: pytest.fail("an image was generated"))
    assert list(model(context, target)) == ["loss", "text", "alignment"]


def test_a_generative_decoder_reads_the_true_text_in_training(context, target):
    model = make_model(ObjectiveOptions(), WordPainter)
    assert model.terms["image"].needs_target_features
    losses = model(context, target)
    (text,) = model.image_decoder.given
    assert text.texts == target.texts
    assert (text.ids, text.mask, text.features) == (
        target.features.text_ids,
        target.features.text_mask,
        target.features.text,
    )
    assert torch.equal(losses["image"], model.image_decoder.loss(None, text, target.image))


def test_a_generative_decoder_reads_the_generated_text_and_the_seed_in_prediction(context):
    model = make_model(ObjectiveOptions(), WordPainter)
    prediction = model.predict(context, Decoding(seed=3))
    (text,) = model.image_decoder.given
    assert text.texts == prediction.texts
    assert text.ids[:, 0].tolist() == text.features[:, 0].tolist() == [len(each) for each in prediction.texts]
    expected = torch.tensor([len(each) / 100 + 0.003 for each in prediction.texts])
    assert torch.allclose(prediction.images[:, 0, 0, 0], expected)


def test_a_generative_decoder_may_read_an_empty_text(context):
    model = make_model(ObjectiveOptions(), WordPainter)
    model.text_decoder.detokenize = lambda ids: ["" for _ in ids]
    assert model.predict(context, Decoding()).images.max() == 0
    assert not model.image_decoder.given[0].mask.any()


@pytest.mark.parametrize("term", ["text", "image", "alignment"])
def test_a_weight_changes_only_the_sum(model, context, target, term):
    before = model(context, target)
    old = getattr(model.objective, term)
    model.objective = model.objective.model_copy(update={term: old + 10})
    after = model(context, target)
    for name in ("text", "image", "alignment"):
        assert torch.equal(after[name], before[name])
    assert torch.allclose(after["loss"] - before["loss"], 10 * before[term], atol=1e-4)


@pytest.mark.parametrize(
    ("weights", "reached"),
    [({"text": 1}, "text_decoder"), ({"image": 1}, "image_decoder"), ({"alignment": 1}, "terms.alignment")],
)
def test_a_term_without_weight_trains_nothing(model, context, target, weights, reached):
    model.objective = ObjectiveOptions(**{"text": 0, "image": 0, "alignment": 0} | weights)
    model(context, target)["loss"].backward()
    for part in ("text_decoder", "image_decoder", "terms.alignment"):
        gradients = [parameter.grad for parameter in model.get_submodule(part).parameters()]
        touched = any(gradient is not None and gradient.any() for gradient in gradients)
        assert touched == (part == reached)


def test_prediction_has_no_argument_for_a_target():
    assert list(inspect.signature(StoryModel.predict).parameters) == ["self", "context", "decoding"]
    assert list(inspect.signature(StoryModel.encode_context).parameters) == ["self", "context"]
    held = {*Context.__dataclass_fields__, *Narrative.__dataclass_fields__}
    assert not held & {"target", "targets", "ids", "image", "reference"}


def test_a_prediction_is_one_text_and_one_bounded_image_per_story(model, context):
    prediction = model.predict(context, Decoding())
    assert len(prediction.texts) == B
    assert prediction.images.shape == (B, 3, H, H)
    assert prediction.images.min() >= 0
    assert prediction.images.max() <= 1
    assert not prediction.images.requires_grad


def test_a_prediction_does_not_depend_on_the_rest_of_the_batch(model, context):
    whole = model.predict(context, Decoding())
    turned = model.predict(context.take(range(B)[::-1]), Decoding())
    assert turned.texts == whole.texts[::-1]
    assert torch.allclose(turned.images, whole.images.flip(0), atol=1e-6)
