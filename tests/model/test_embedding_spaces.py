"""The embedding spaces of a run: vectors of images and texts, computed or cached."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vsr_cli.api import TokenBatch
from vsr_cli.data.shards import ArrayRows
from vsr_cli.model.embedding_spaces import EmbeddingSpaces

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3), dtype=np.uint8)
TOKENS = TokenBatch(
    ids=np.array([[1, 2, 3, 0], [4, 0, 0, 0], [5, 6, 0, 0]]),
    mask=np.array([[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 0, 0]], dtype=bool),
)
STATES = torch.arange(21.0).reshape(7, 3)


class Visual:
    """Return each image's colours as a map."""

    def __init__(self, cache_key):
        self.cache_key = cache_key

    def pixels(self, images):
        return images.float()

    def frozen(self, pixels):
        return pixels

    def __call__(self, features):
        return features.amax((2, 3))


class Text:
    """Return three numbers a token, and rubbish for padding."""

    def __init__(self, cache_key):
        self.cache_key = cache_key

    def tokenize(self, texts):
        rows = [{"a b c": 0, "d": 1, "e f": 2}[text] for text in texts]
        return TokenBatch(ids=TOKENS.ids[rows], mask=TOKENS.mask[rows])

    def frozen(self, ids, mask):
        return torch.where(mask[..., None], STATES[ids], 1e6)

    def __call__(self, features, mask):
        return (features * mask[..., None]).sum(1)


def spaces(key):
    return EmbeddingSpaces(SimpleNamespace(visual=Visual(key), text=Text(key)), torch.device("cpu"))


def test_the_vector_of_a_frozen_map_is_its_mean():
    rows = np.array([[3, 0], [3, 5]])
    found = spaces("key").images(ArrayRows(IMAGES), rows)
    assert found == pytest.approx(IMAGES[rows].mean((2, 3)), rel=1e-5)
    assert spaces("key").signature == {"visual": "frozen-features", "text": "frozen-features"}


def test_cached_features_are_used_and_no_image_is_read():
    kept = np.random.default_rng(1).random((6, 7, 2), dtype=np.float32)  # seven patches of two numbers
    found = spaces("key").images(SimpleNamespace(gather=None), np.array([4, 1]), features=ArrayRows(kept))
    assert found == pytest.approx(kept[[4, 1]].mean(1))


def test_the_vector_of_frozen_tokens_is_the_mean_of_the_real_ones():
    found = spaces("key").texts(TOKENS, np.array([0, 2, 0]))
    by_hand = np.stack([STATES[[1, 2, 3]].mean(0), STATES[[5, 6]].mean(0), STATES[[1, 2, 3]].mean(0)])
    assert found == pytest.approx(by_hand)
    assert spaces("key").written(["a b c", "e f", "a b c"]) == pytest.approx(by_hand)


def test_cached_text_features_count_real_tokens_only():
    kept = np.ones((3, 4, 2), dtype=np.float16)
    kept[~TOKENS.mask] = 100
    assert (spaces("key").texts(TOKENS, np.array([0, 1, 2]), features=ArrayRows(kept)) == 1).all()
    pooled = np.arange(6, dtype=np.float16).reshape(3, 2)
    assert spaces("key").texts(TOKENS, np.array([2]), features=ArrayRows(pooled)).tolist() == [[4, 5]]


def test_without_a_frozen_half_the_vector_is_the_trained_embedding():
    assert spaces(None).images(ArrayRows(IMAGES), np.array([2])) == pytest.approx(IMAGES[[2]].max((1, 2)))
    assert spaces(None).texts(TOKENS, np.array([1])).tolist() == [STATES[4].tolist()]
    assert spaces(None).signature == {"visual": "trained-embedding", "text": "trained-embedding"}
