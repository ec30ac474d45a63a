"""Arrays in temporary files hold what arrays in memory do."""

import numpy as np
import pytest

from vsr_cli.api import TokenBatch
from vsr_cli.data import scratch
from vsr_cli.data.scratch import roomy_array, taken, tokenized

TEXTS = ["a", "bb", "ccc", "dddd", "e"]


def tokenize(texts, *, width=3):
    ids = np.array([[len(text)] * width for text in texts])
    return TokenBatch(ids=ids, mask=ids > 1, cut=ids[:, 0] > width)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(scratch, "AT_ONCE", 2)


def test_tokens_of_many_texts_are_those_of_all_at_once():
    calls = []
    found = tokenized(lambda texts: calls.append(len(texts)) or tokenize(texts), TEXTS)
    whole = tokenize(TEXTS)
    assert max(calls) == 2
    assert (found.ids == whole.ids).all()
    assert (found.mask == whole.mask).all()
    assert (found.cut == whole.cut).all()


def test_a_component_that_pads_to_the_longest_text_tokenizes_all_at_once():
    def padding(texts):
        return tokenize(texts, width=max(map(len, texts)))

    assert (tokenized(padding, TEXTS).ids == padding(TEXTS).ids).all()


@pytest.mark.parametrize("limit", [0, 10**6])
def test_rows_are_taken_as_by_indexing(monkeypatch, limit):
    monkeypatch.setattr(scratch, "SMALL", limit)
    array, rows = np.arange(24, dtype=np.float32).reshape(6, 4), np.array([[5, 0], [2, 2], [1, 3]])
    assert (taken(array, rows) == array[rows]).all()
    assert roomy_array((0, 4), np.uint8, small=0).shape == (0, 4)
