import zlib

import pytest
import torch

from vsr_cli.api import BuildContext, VsrError
from vsr_cli.model.weights import load_model
from vsr_cli.plugin.discovery import registry
from vsr_plugins.text_encoders import BowOptions
from vsr_plugins.text_encoders.tiny import BagOfWords

TEXTS = ["Mara opens the box, and the box is empty.", "mara's café", "Ivo waits. Ivo WAITS!", ""]


def context(width=8, texts=TEXTS, assets=None) -> BuildContext:
    return BuildContext(width=width, steps=4, image_size=16, training_texts=lambda: iter(texts), assets=assets)


def encoder(**options):
    torch.manual_seed(0)
    return BagOfWords(BowOptions(**options), context()).eval()


def read(model, texts):
    batch = model.tokenize(texts)
    ids, mask = torch.from_numpy(batch.ids), torch.from_numpy(batch.mask)
    return model.frozen(ids, mask), mask


def bucket(word, buckets=2048):
    return zlib.crc32(word.encode()) % buckets


def test_words_are_counted_without_case_and_punctuation():
    counts, _ = read(encoder(), TEXTS)
    assert counts.shape == (4, 2048)
    wanted = [
        {"mara": 1, "opens": 1, "the": 2, "box": 2, "and": 1, "is": 1, "empty": 1},
        {"mara's": 1, "café": 1},
        {"ivo": 2, "waits": 2},
        {},
    ]
    for row, words in zip(counts, wanted, strict=True):
        assert {bucket(word): times for word, times in words.items()} == {
            int(at): int(row[at]) for at in row.nonzero().flatten()
        }


def test_the_embedding_is_the_weighted_mean_of_the_words_vectors():
    model = encoder()
    counts, mask = read(model, ["box mara box"])
    table = model.vectors.weight.T  # (buckets, D)
    expected = 2 / 3 * table[bucket("box")] + 1 / 3 * table[bucket("mara")] + model.vectors.bias
    torch.testing.assert_close(model(counts, mask)[0], expected)


def test_the_order_of_words_and_an_empty_text_change_nothing():
    model = encoder()
    one, other, empty = model(*read(model, ["Mara opens the box", "the box opens Mara", ""]))
    torch.testing.assert_close(one, other)
    assert torch.equal(empty, model.vectors.bias)


def test_gradients_reach_the_vectors_of_the_text_s_words():
    model = encoder(buckets=64)
    model(*read(model, ["box mara"])).square().sum().backward()
    reached = model.vectors.weight.grad.abs().sum(0).nonzero().flatten().tolist()
    assert set(reached) == {bucket("box", 64), bucket("mara", 64)}


def test_hashes_are_stable():
    counts, _ = read(encoder(), ["mara", "café"])
    assert counts.nonzero().tolist() == [[0, 879], [1, 693]]


def test_training_without_texts_is_an_error():
    with pytest.raises(VsrError, match=r"the training split has no text.*choose a dataset"):
        BagOfWords(BowOptions(), context(texts=[]))


def test_encoder_trains_on_stories(train_small, small_settings, tmp_path):
    settings = ["text.name=bow", "text.vocabulary_size=500", "text.buckets=256"]
    run = train_small(tmp_path / "run", *settings)
    model = load_model(run, registry())
    assert model.text.vectors.weight.shape == (16, 256)
    torch.manual_seed(0)
    assert not torch.equal(model.text.vectors.weight, torch.nn.init.normal_(torch.empty(16, 256)))
