import os
import string
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from vsr_cli.api import BuildContext, VsrError
from vsr_plugins.text_encoders import TinyTextOptions
from vsr_plugins.text_encoders.learned_vocabulary import SPECIAL_TOKENS, learn_vocabulary
from vsr_plugins.text_encoders.tiny import TinyText
from vsr_plugins.visual_encoders import TinyCnnOptions
from vsr_plugins.visual_encoders.tiny import TinyCnn

TEXTS = [
    "Mara opens the two boxes beside a wall.",
    "'Not here,' she says. Mara's hand tightens on the box!",
    'Ivo waits outside; "Their eyes meet," he whispers.',
    "The café by the lighthouse is closed - for now...",
]


def context(width=16, texts=TEXTS, assets=None) -> BuildContext:
    return BuildContext(width=width, steps=4, image_size=64, training_texts=lambda: iter(texts), assets=assets)


def text_encoder(width=16, **options):
    torch.manual_seed(0)
    return TinyText(TinyTextOptions(**options), context(width))


def tokens(encoder, texts):
    batch = encoder.tokenize(texts)
    return torch.from_numpy(batch.ids), torch.from_numpy(batch.mask)


@pytest.mark.parametrize(("count", "width", "size", "given"), [(1, 8, 64, 64), (5, 16, 32, 96), (2, 7, 48, 40)])
def test_cnn_shapes(count, width, size, given):
    encoder = TinyCnn(TinyCnnOptions(size=size), context(width))
    pixels = encoder.pixels(torch.randint(0, 256, (count, 3, given, given), dtype=torch.uint8))
    assert pixels.shape == (count, 3, size, size)
    assert pixels.dtype == torch.float32
    assert encoder(encoder.frozen(pixels)).shape == (count, width)


def test_cnn_pixels_lie_between_minus_one_and_one():
    encoder = TinyCnn(TinyCnnOptions(), context())
    images = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    images[1] = 255
    assert torch.equal(encoder.pixels(images)[0], torch.full((3, 64, 64), -1.0))
    assert torch.equal(encoder.pixels(images)[1], torch.ones(3, 64, 64))


def test_cnn_embedding_depends_on_position():
    encoder = TinyCnn(TinyCnnOptions(), context())
    images = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    images[0, :, :16, :16] = 255
    images[1, :, 48:, 48:] = 255
    left, right = encoder(encoder.pixels(images))
    assert (left - right).abs().max() > 1e-2


@pytest.mark.parametrize(("count", "width", "length"), [(1, 8, 48), (3, 16, 10), (2, 5, 4)])
def test_text_shapes(count, width, length):
    encoder = text_encoder(width, length=length)
    ids, mask = tokens(encoder, TEXTS[:count])
    assert ids.shape == mask.shape == (count, length)
    assert encoder(encoder.frozen(ids, mask), mask).shape == (count, width)
    assert ids[:, 0].tolist() == [encoder.vocabulary.bos] * count
    assert (
        ids[mask.cumsum(1) == mask.sum(1, keepdim=True)].view(count, -1)[:, 0].tolist()
        == [encoder.vocabulary.eos] * count
    )


def test_text_reads_the_order_of_words():
    encoder = text_encoder().eval()
    first, second = encoder(*tokens(encoder, ["Mara opens the box", "box the opens Mara"]))
    assert (first - second).abs().max() > 1e-3


@pytest.mark.parametrize(
    "text", [*TEXTS, "Mara's", "'Not here,' she says.", "she 'says' \"so\" - (Ivo), [x] {y} 3/4 #1 a_b"]
)
def test_decode_inverts_encode(text):
    vocabulary = text_encoder().vocabulary
    assert vocabulary.decode(vocabulary.encode([text], length=200).ids) == [text]
    assert vocabulary.decode(vocabulary.encode_targets([text], length=200).ids) == [text]


@settings(deadline=None)
@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=40))
def test_decode_inverts_encode_of_printable_ascii(text):
    text = " ".join(text.split())
    if any(token in text for token in SPECIAL_TOKENS):
        return
    vocabulary = VOCABULARY
    assert vocabulary.decode(vocabulary.encode_targets([text], length=100).ids) == [text]


VOCABULARY = learn_vocabulary(TEXTS, size=400)


def test_white_space_is_normalized():
    cased = text_encoder().vocabulary
    text = "  Mara \n opens\tthe BOX "
    assert cased.decode(cased.encode([text], length=60).ids) == ["Mara opens the BOX"]


def test_vocabulary_has_special_tokens_and_requested_size():
    vocabulary = learn_vocabulary(TEXTS * 20, size=400)
    assert [vocabulary.tokenizer.id_to_token(i) for i in range(5)] == SPECIAL_TOKENS
    assert (vocabulary.pad, vocabulary.bos, vocabulary.eos) == (0, 2, 3)
    assert len(vocabulary) <= 400
    assert "▁the" in vocabulary.tokenizer.get_vocab()


def test_equal_texts_give_equal_vocabularies_in_every_process():
    code = (
        "from vsr_plugins.text_encoders.learned_vocabulary import learn_vocabulary\n"
        "texts = [f'word{i % 37} other{i % 11} Thing{i}' for i in range(300)]\n"
        "print(learn_vocabulary(texts, size=400).tokenizer.to_str())"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code]
    # The library seeds its hashes anew in each process: within one, no difference would show.
    first, second = (subprocess.run(command, env=environment, capture_output=True, check=True).stdout for _ in range(2))
    assert first == second


@pytest.mark.parametrize("texts", [[], ["", "  \n"], ["\u200b", "\u3164"]])
def test_training_without_texts_is_an_error(texts):
    with pytest.raises(VsrError, match=r"the training split has no text.*choose a dataset"):
        TinyText(TinyTextOptions(), context(texts=texts))


@pytest.mark.parametrize("size", [0, 8, 40])
def test_cnn_size_is_a_multiple_of_16(size):
    with pytest.raises(ValidationError):
        TinyCnnOptions(size=size)


CHINESE = [chr(0x4E00 + number) for number in range(3000)]


def test_unknown_chinese_character_affects_no_other():
    vocabulary = learn_vocabulary(["我们在公园里看见一只小狗。", "I ate 寿司 today."], size=400)
    for text in ("我们在公园里看见一只小狗。", "小狗看见我们", "I ate 寿司 today.", "我 们 ate"):
        assert vocabulary.decode(vocabulary.encode_targets([text], length=40).ids) == [text]
    assert vocabulary.decode(vocabulary.encode_targets(["我们看见雨，小狗"], length=40).ids) == ["我们看见小狗"]


@pytest.mark.parametrize(
    "script", ["नमस्ते घर हँसा।", "私はコーヒーを飲んだ。", "น้ำตกสวย", "ركض الثعلبُ", "ቀበሮው ሮጠ።", "👨\u200d👩\u200d👧 ❤️🇫🇷"]
)
def test_texts_of_every_script_round_trip(script):
    vocabulary = learn_vocabulary([script, f"{script} {script}"], size=400)
    assert vocabulary.decode(vocabulary.encode_targets([script], length=100).ids) == [script]


def test_most_frequent_characters_are_kept():
    common, rare = CHINESE[2000:2100], CHINESE[:2000]
    texts = ["".join(rare), *["".join(common)] * 2, *rare[:5]]
    vocabulary = learn_vocabulary(texts, size=400)
    known = vocabulary.tokenizer.get_vocab()
    assert {*common, *rare[:5], "▁", *string.ascii_letters, "##a"} <= known.keys()
    assert len(known) == 400
    assert known == learn_vocabulary(texts, size=400).tokenizer.get_vocab()
