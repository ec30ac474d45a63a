import string

import numpy as np
import pytest
import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import ByteLevel, Whitespace

from vsr_cli.api import Vocabulary
from vsr_cli.api import vocabulary as module
from vsr_cli.data.statistics import token_counter
from vsr_cli.evaluation.normalize import clean_text
from vsr_plugins.text_encoders.learned_vocabulary import SPECIAL_TOKENS, learn_vocabulary
from vsr_plugins.text_encoders.pretrained_vocabulary import find_vocabulary

PAD, BOS, EOS = 0, 1, 2
WORDS = ["[PAD]", "[CLS]", "[SEP]", *"abcdefg"]


@pytest.fixture
def vocabulary():
    tokenizer = Tokenizer(WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="g"))
    tokenizer.pre_tokenizer = Whitespace()
    return Vocabulary(tokenizer=tokenizer, pad=PAD, bos=BOS, eos=EOS)


def test_truncated_input_has_eos_and_truncated_target_has_none(vocabulary):
    read = vocabulary.encode(["a b", "a b c d", ""], length=4)
    assert read.ids.tolist() == [[BOS, 3, 4, EOS], [BOS, 3, 4, EOS], [BOS, EOS, PAD, PAD]]
    assert read.cut.tolist() == [False, True, False]
    written = vocabulary.encode_targets(["a b", "a b c d", ""], length=4)
    assert written.ids.tolist() == [[3, 4, EOS, PAD], [3, 4, 5, 6], [EOS, PAD, PAD, PAD]]
    assert written.cut.tolist() == [False, True, False]
    assert written.mask.tolist() == (written.ids != PAD).tolist()


@pytest.mark.parametrize("count", [0, 1, 3, 7])
def test_encoding_does_not_depend_on_batch_size(vocabulary, monkeypatch, count):
    texts = [" ".join("abcdefg"[: 1 + number % 6]) for number in range(count)]
    whole = [vocabulary.encode(texts, length=5), vocabulary.encode_targets(texts, length=5)]
    monkeypatch.setattr(module, "AT_ONCE", 3)
    parts = [vocabulary.encode(texts, length=5), vocabulary.encode_targets(texts, length=5)]
    for one, other in zip(whole, parts, strict=True):
        assert one.ids.shape == (count, 5)
        for name in ("ids", "mask", "cut"):
            assert np.array_equal(getattr(one, name), getattr(other, name))


VISIBLE = [chr(code) for code in range(33, 127)]
BYTES = sorted(ByteLevel.alphabet())
BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
GPT = ["<|endoftext|>"]


def pieces(special, *letters):
    return {piece: index for index, piece in enumerate(dict.fromkeys([*special, *letters]))}


def wordpiece(special):
    return {"vocab": pieces(special, *VISIBLE, *(f"##{letter}" for letter in VISIBLE))}


def byte_pairs(special, *letters):
    return {"vocab": pieces(special, *letters), "merges": []}


def unigram(special):
    """Special tokens are the likeliest pieces of all, as in published ones: the model itself finds them in a text."""
    return {"vocab": [*((token, 0.0) for token in special), ("▁", -2.0), *((letter, -3.0) for letter in VISIBLE)]}


TOKENIZERS = {
    "BertTokenizer": wordpiece(BERT),
    "DistilBertTokenizer": wordpiece(BERT),
    "ElectraTokenizer": wordpiece(BERT),
    "MPNetTokenizer": wordpiece(["<s>", "<pad>", "</s>", "[UNK]", "<mask>"]),
    "RobertaTokenizer": byte_pairs(ROBERTA, *BYTES),
    "GPT2Tokenizer": byte_pairs(GPT, *BYTES),
    "Qwen2Tokenizer": byte_pairs(GPT, *BYTES),
    "GPTNeoXTokenizer": byte_pairs(GPT, *BYTES),
    "CLIPTokenizer": byte_pairs(["<|startoftext|>", *GPT], *BYTES, *(f"{letter}</w>" for letter in BYTES)),
    "LlamaTokenizer": byte_pairs(["<unk>", "<s>", "</s>"], "▁", *VISIBLE),
    "GemmaTokenizer": byte_pairs(["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"], "▁", *VISIBLE),
    "XLMRobertaTokenizer": unigram(ROBERTA[:4]),
    "CamembertTokenizer": unigram(ROBERTA[:4]),
    "AlbertTokenizer": unigram(["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]),
    "T5Tokenizer": unigram(["<pad>", "</s>", "<unk>"]) | {"extra_ids": 3},
    "XLNetTokenizer": unigram(["<unk>", "<s>", "</s>", "<cls>", "<sep>", "<pad>", "<mask>"]),
    "DebertaV2Tokenizer": unigram(["[PAD]", "[CLS]", "[SEP]", "[UNK]"]),
}


def texts_with(tokens):
    return [f"he said {token} and the fox ran{token} over. {token}" for token in tokens]


@pytest.mark.parametrize("name", TOKENIZERS)
def test_special_tokens_in_a_text_are_encoded_as_text(name, tmp_path):
    own = getattr(transformers, name)(**TOKENIZERS[name])
    own.save_pretrained(tmp_path)
    vocabulary = find_vocabulary(str(tmp_path))
    special = [*own.all_special_tokens, *map(vocabulary.tokenizer.id_to_token, (vocabulary.pad, vocabulary.bos))]
    texts = texts_with(dict.fromkeys(special))
    ids = vocabulary.encode_targets(texts, length=300).ids
    assert not np.isin(ids, [own.convert_tokens_to_ids(own.unk_token)]).any() or name.startswith(
        ("GPT", "Qwen", "CLIP")
    )
    written = vocabulary.decode(ids)
    assert [clean_text(text).lower() for text in written] == [clean_text(text).lower() for text in texts]
    read = vocabulary.encode(texts, length=300).ids
    assert (np.isin(read, [vocabulary.bos]).sum(1) == 1).all()
    assert vocabulary.decode(read[:, 1:]) == written


def test_special_tokens_are_text_to_a_learned_vocabulary(tmp_path):
    vocabulary = learn_vocabulary(["The fox ran over the hill."], size=400)
    vocabulary.save(tmp_path / "tokenizer.json")
    texts = ["He said [SEP] and the fox ran over the hill.", *texts_with(SPECIAL_TOKENS)]
    for each in (vocabulary, Vocabulary.load(tmp_path / "tokenizer.json")):
        written = each.decode(each.encode_targets(texts, length=200).ids)
        assert written == texts
    counts = token_counter(tmp_path)(["[SEP]", "[SEP] [PAD]"])
    assert counts[0] > 1
    assert counts[1] > 2


def test_special_token_without_punctuation_is_spelled_or_omitted():
    tokenizer = Tokenizer(WordLevel(pieces(["PAD", "BOS", "EOS"], *string.ascii_letters), unk_token="z"))
    tokenizer.pre_tokenizer = Whitespace()
    vocabulary = Vocabulary(tokenizer=tokenizer, pad=PAD, bos=BOS, eos=EOS)
    assert vocabulary.decode(vocabulary.encode_targets(["a EOS b"], length=9).ids) == ["a E O S b"]
    one = Vocabulary(tokenizer=tokenizer, pad=PAD, bos=BOS, eos=tokenizer.token_to_id("e"))
    assert one.decode(one.encode_targets(["a e b"], length=9).ids) == ["a b"]


def test_unknown_word_stays_unknown(vocabulary):
    assert vocabulary.encode_targets(["a zebra b"], length=4).ids.tolist() == [[3, 9, 4, EOS]]
