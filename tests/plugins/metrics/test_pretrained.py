from dataclasses import replace

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import (
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    PreTrainedTokenizerFast,
)

from vsr_cli.api import VsrError
from vsr_plugins.metrics import BertScoreOptions, ClipImageOptions, ClipScoreOptions, bertscore, clip

from .samples import image_sample, scores, text_sample

WORDS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "the", "cat", "sat", "dog", "ran", "off"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """Write a small BERT of random weights, with its tokenizer."""
    folder = tmp_path_factory.mktemp("bert")
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing("[CLS] $0 [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]"
    )
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(WORDS), **sizes)).save_pretrained(folder)
    return folder


@pytest.fixture
def score(encoder):
    metric = bertscore.build(BertScoreOptions(model=str(encoder)))
    return lambda *pairs: metric.measure([text_sample(*pair) for pair in pairs])


def test_a_text_is_its_own_best_match(score):
    same, other = score(("the cat sat", "the cat sat"), ("dog ran", "the cat sat"))
    assert same == pytest.approx([1, 1, 1], abs=1e-5)
    assert other[0] < 0.99


def test_precision_equals_swapped_recall(score):
    one, other = score(("the cat sat off", "dog ran"), ("dog ran", "the cat sat off"))
    assert one[1] == pytest.approx(other[2], abs=1e-5)
    assert one[0] == pytest.approx(2 * one[1] * one[2] / (one[1] + one[2]))


def test_score_does_not_depend_on_the_batch_and_empty_texts_score_0(score):
    pairs = [("the cat", "the dog ran off"), ("", "cat"), ("cat", "")]
    together = score(*pairs)
    assert together == pytest.approx(np.concatenate([score(pair) for pair in pairs]), abs=1e-5)
    assert (together[1:] == 0).all()


def test_special_token_in_a_text_is_text(score):
    for token in ("[SEP]", "[PAD]"):
        named, spread = score((f"cat {token}", "cat"), (f"cat [ {token[1:-1]} ]", "cat"))
        assert named == pytest.approx(spread, abs=1e-6)


@pytest.mark.parametrize(
    ("build", "options"),
    [
        (bertscore.build, BertScoreOptions),
        (clip.build, ClipScoreOptions),
        (clip.build_image, ClipImageOptions),
    ],
)
def test_missing_model_is_one_line_with_remedy(build, options, tmp_path):
    with pytest.raises(VsrError, match=r"no model is named; .*--set metrics\.[\w-]+\.model=FOLDER"):
        build(options())
    with pytest.raises(VsrError, match=r"cannot load .*nowhere.*; name a folder") as error:
        build(options(model=str(tmp_path / "nowhere")))
    assert "\n" not in str(error.value)


def small_clip(encoder):
    """A CLIP of random weights for images of 16 pixels, with its processor."""
    torch.manual_seed(1)  # of those under which the cosines are positive
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    text = {**small, "vocab_size": len(WORDS), "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    vision = {**small, "image_size": 16, "patch_size": 8}
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8))
    pictures = CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    processor = CLIPProcessor(pictures, PreTrainedTokenizerFast.from_pretrained(encoder))
    return model, processor


def noise(seed):
    return np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)


def test_clip_image_is_1_for_the_truth_and_does_not_depend_on_the_batch(encoder):
    metric = clip.ClipImage(*small_clip(encoder), ClipImageOptions(model="small"))
    assert scores(metric, image_sample(noise(1), noise(1))) == {"clip-image": pytest.approx(1)}
    pairs = [image_sample(noise(1), noise(2)), image_sample(noise(3), noise(4))]
    rows = metric.measure(pairs)
    assert (rows < 0.999).all()
    assert rows == pytest.approx(np.concatenate([metric.measure([pair]) for pair in pairs]), abs=1e-6)


def test_clipscore_scores_prediction_and_reference_image(encoder):
    metric = clip.ClipScore(*small_clip(encoder), ClipScoreOptions(model="small"))
    one, other = noise(0), noise(1)
    swapped = [
        replace(text_sample("the cat", ""), predicted_image=predicted, reference_image=true)
        for predicted, true in ((one, other), (other, one))
    ]
    rows = metric.measure(swapped)
    assert rows[0] == pytest.approx(rows[1][::-1], abs=1e-5)
    assert rows == pytest.approx(np.concatenate([metric.measure([each]) for each in swapped]), abs=1e-5)
    assert (rows >= 0).all()
    assert rows.max() <= 2.5
    assert rows.any()
    texts = ("cat [SEP] dog ran", "cat [ SEP ] dog ran")  # a text's vector is that of its first [SEP]
    named, spread = metric.measure([replace(swapped[0], predicted_text=text) for text in texts])
    assert named == pytest.approx(spread, abs=1e-6)
    assert metric.measure([]).shape == (0, 2)


@pytest.mark.parametrize("layer", [-4, 3])
def test_invalid_layer_is_refused(encoder, layer):
    with pytest.raises(VsrError, match=r"metrics.bertscore.layer: .* has 3 layers"):
        bertscore.build(BertScoreOptions(model=str(encoder), layer=layer))
