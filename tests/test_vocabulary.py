import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from vsr_cli.api import Vocabulary
from vsr_cli.api import vocabulary as module

PAD, BOS, EOS = 0, 1, 2
WORDS = ["[PAD]", "[CLS]", "[SEP]", *"abcdefg"]


@pytest.fixture
def vocabulary():
    tokenizer = Tokenizer(WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="g"))
    tokenizer.pre_tokenizer = Whitespace()
    return Vocabulary(tokenizer=tokenizer, pad=PAD, bos=BOS, eos=EOS)


def test_a_text_that_is_cut_ends_in_eos_where_it_is_read_and_not_where_it_is_written(vocabulary):
    read = vocabulary.encode(["a b", "a b c d", ""], length=4)
    assert read.ids.tolist() == [[BOS, 3, 4, EOS], [BOS, 3, 4, EOS], [BOS, EOS, PAD, PAD]]
    assert read.cut.tolist() == [False, True, False]
    written = vocabulary.encode_targets(["a b", "a b c d", ""], length=4)
    assert written.ids.tolist() == [[3, 4, EOS, PAD], [3, 4, 5, 6], [EOS, PAD, PAD, PAD]]
    assert written.cut.tolist() == [False, True, False]
    assert written.mask.tolist() == (written.ids != PAD).tolist()


@pytest.mark.parametrize("count", [0, 1, 3, 7])
def test_how_many_texts_are_encoded_at_once_changes_nothing(vocabulary, monkeypatch, count):
    texts = [" ".join("abcdefg"[: 1 + number % 6]) for number in range(count)]
    whole = [vocabulary.encode(texts, length=5), vocabulary.encode_targets(texts, length=5)]
    monkeypatch.setattr(module, "AT_ONCE", 3)
    parts = [vocabulary.encode(texts, length=5), vocabulary.encode_targets(texts, length=5)]
    for one, other in zip(whole, parts, strict=True):
        assert one.ids.shape == (count, 5)
        for name in ("ids", "mask", "cut"):
            assert np.array_equal(getattr(one, name), getattr(other, name))
