"""Baselines, and the candidates that a target is ranked among."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsr_cli.data.prepared_types import Windows
from vsr_cli.data.shards import ArrayRows
from vsr_cli.evaluation.baselines import (
    best_context,
    central_text,
    mean_image,
    most_expected_text,
    nearest_contexts,
    shuffled_context,
    windows_of_other_stories,
)
from vsr_cli.evaluation.embeddings import Ranking, TrainingWindows, Unavailable, WindowVectors
from vsr_cli.evaluation.predictions import Predictions, load_references


@given(st.lists(st.integers(1, 6), min_size=2, max_size=12))
def test_every_window_gets_a_prediction_for_another_story(sizes):
    stories = [f"s{number}" for number, size in enumerate(sizes) for _ in range(size)]
    others = windows_of_other_stories(stories)
    assert all(stories[other] != story for story, other in zip(stories, others, strict=True))
    if 2 * max(sizes) <= len(stories):
        assert sorted(others) == list(range(len(stories)))
    assert (others == windows_of_other_stories(stories)).all()


def test_shuffled_context_needs_two_stories():
    series = Predictions(["a", "b"], ArrayRows(np.zeros((2, 1, 1, 3), np.uint8)))
    found = shuffled_context(series, ["s", "s"])
    assert isinstance(found, Unavailable)
    assert "prepare more stories" in found.reason


@pytest.mark.parametrize(
    ("texts", "best"),
    [
        (["The dog ran.", "the dog ran home", "A cat", "rain"], 1),
        (["Rain fell.", "It was cold.", "RAIN fell!", "So they left."], 2),  # of equals the last
        (["", "one", "two"], 2),
        (["alone"], 0),
    ],
)
def test_the_best_text_of_a_context_overlaps_most_with_the_others(texts, best):
    assert most_expected_text(texts) == best


def test_the_best_context_does_not_depend_on_the_target_and_has_the_image_of_its_frame():
    rows = np.array([[0, 1, 2, 3, 4]])
    windows = Windows(["s"], rows, rows, np.zeros((1, 5), bool), np.zeros(1, int))
    images = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((5, 2, 2, 3), np.uint8)
    for target in ("a b c d e f", "no"):
        texts = ["x", "a b c", "a b", "y", target]
        frames = SimpleNamespace(images=ArrayRows(images), texts=texts)
        found = best_context(load_references(frames, windows), frames, windows, None)
        assert found.texts == ["a b"]
        assert (found.images.gather(np.array([0])) == 2).all()


def training(visual, text, rows=None):
    count = len(visual)
    rows = np.arange(5 * count).reshape(count, 5) if rows is None else rows
    windows = Windows([f"s{n}" for n in range(count)], rows, rows, np.zeros((count, 5), bool), np.zeros(count, int))
    images = np.arange(rows.max() + 1, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    prepared = SimpleNamespace(image_size=2, frames=SimpleNamespace(images=ArrayRows(images)))
    vectors = WindowVectors(np.asarray(visual, np.float32), np.asarray(text, np.float32))
    return TrainingWindows(prepared, windows, vectors)


def test_the_nearest_context_does_not_depend_on_the_target():
    rng = np.random.default_rng(0)
    visual, text = rng.normal(size=(20, 5, 6)), rng.normal(size=(20, 5, 3))
    found = training(visual, text)
    asked = [3, 17, 3, 0]
    ours = [array[asked] + 0.01 * rng.normal(size=(4, 5, array.shape[-1])) for array in (visual, text)]
    for array in ours:
        array[:, 4] = 100  # the target is not looked at
    assert nearest_contexts(found, WindowVectors(*(array.astype(np.float32) for array in ours))).tolist() == asked


def test_the_central_text_is_nearest_to_the_mean_of_the_targets():
    text = np.zeros((4, 5, 2))
    text[:, 4] = [[1, 0], [1, 1], [0, 1], [-1, 0.2]]
    text[:, :4] = [[-9, -9]]  # contexts do not matter
    assert central_text(training(np.zeros((4, 5, 1)), text)) == 2 * 5 + 4


def test_the_mean_image_is_of_the_targets():
    found = training(np.zeros((3, 5, 1)), np.zeros((3, 5, 1)))
    assert (mean_image(found) == (4 + 9 + 14) / 3).all()


def test_candidates_exclude_the_past_of_the_own_story():
    # One story of seven frames with rows 0 to 6 (three windows), and one of five frames with rows 10 to 14.
    rows = np.array([[0, 1, 2, 3, 4], [1, 2, 3, 4, 5], [2, 3, 4, 5, 6], [10, 11, 12, 13, 14]])
    found = Ranking(rows, np.array([0, 1, 2, 0]), ["a", "a", "a", "b"]).candidates(np.array([0, 1, 2, 3]))
    assert found.rows.tolist() == [4, 5, 6, 14]
    assert found.answer.tolist() == [0, 1, 2, 3]
    rivals = [found.rows[row].tolist() for row in found.rivals]
    assert rivals == [[4, 5, 6, 14], [5, 6, 14], [6, 14], [4, 5, 6, 14]]
    assert [found.rows[row].tolist() for row in found.later] == [[4, 5, 6], [5, 6], [6], [14]]


def test_candidates_exclude_copies_of_past_frames_and_merge_equal_targets():
    rows = np.array([[0, 1, 2, 3, 4], [7, 8, 9, 5, 2], [10, 11, 12, 13, 4]])
    found = Ranking(rows, np.zeros(3, int), ["a", "b", "c"]).candidates(np.array([0, 2]))
    assert found.rows.tolist() == [2, 4]
    assert found.answer.tolist() == [1, 1]
    assert found.rivals.tolist() == [[False, True], [True, True]]


@pytest.mark.parametrize("kept", [[0], [2, 1]])
def test_only_scored_windows_are_ranked_but_among_all_targets(kept):
    rows = np.arange(15).reshape(3, 5)
    found = Ranking(rows, np.zeros(3, int), ["a", "b", "c"]).candidates(np.array(kept))
    assert found.rivals.shape == (len(kept), 3)
    assert found.rivals.all()
