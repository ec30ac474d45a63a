"""The leakage audit on constructed leaks of each kind."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from vsr_cli.data.duplicates import perceptual_hash
from vsr_cli.data.prepared import open_prepared
from vsr_cli.data.prepared_types import Frames, Windows
from vsr_cli.data.shards import ArrayRows
from vsr_cli.evaluation.leakage import audit, leaks_within

NONE = {
    "target_text_in_context": 0,
    "target_image_in_context": 0,
    "padded": 0,
    "story_in_training": 0,
    "near_duplicate_across_splits": 0,
    "left_out": 0,
}


@pytest.fixture(scope="module")
def folder(prepare_ten_stories):
    return prepare_ten_stories("data.image_size=64", "data.test=0.3", "data.window=first")


@pytest.fixture
def prepared(folder):
    """Return the data with distinct noise images."""
    opened = open_prepared(folder)
    count = len(opened.frames.images)
    # Smooth, as images are: of so low frequencies that hashes see them.
    coarse = np.random.default_rng(0).integers(0, 256, (count, 6, 6, 3), dtype=np.uint8)
    return with_pictures(opened, np.stack([np.asarray(Image.fromarray(one).resize((64, 64))) for one in coarse]))


def with_pictures(prepared, images):
    hashes = np.array([perceptual_hash(image) for image in images], dtype=np.uint64)
    prepared.__dict__["image_facts"] = replace(prepared.image_facts, hash=hashes)
    prepared.__dict__["frames"] = Frames(ArrayRows(images), list(prepared.frames.texts))
    return prepared


def change(prepared, split, **arrays):
    windows = prepared.windows(split)
    copies = {name: getattr(windows, name).copy() for name in ("image_rows", "text_rows", "repeated")}
    prepared._windows[split] = replace(windows, **copies, **arrays)
    return prepared._windows[split]


def found(prepared, split="test", training=None):
    result = audit(prepared, split, training=training or prepared)
    assert len(result.scored) + len(result.leaks) == len(prepared.windows(split))
    return result


def test_windows_without_leaks_are_all_scored(prepared):
    assert found(prepared).record() == NONE


@pytest.mark.parametrize("what", ["text", "image"])
def test_a_target_in_its_context(prepared, what):
    rows = getattr(change(prepared, "test"), f"{what}_rows")
    rows[1, 4] = rows[1, 2]
    result = found(prepared)
    assert result.record() == {**NONE, f"target_{what}_in_context": 1, "left_out": 1}
    (leak,) = result.leaks
    assert leak.story == prepared.windows("test").stories[1]
    assert leak.reasons == (f"target_{what}_in_context",)


def test_a_padded_window(prepared):
    change(prepared, "test").repeated[0, 3] = True
    assert found(prepared).record() == {**NONE, "padded": 1, "left_out": 1}


def test_a_story_in_two_splits(prepared):
    story = prepared.windows("test").stories[2]
    train = prepared.windows("train")
    change(prepared, "train", stories=[story, *train.stories[1:]])
    result = found(prepared)
    assert result.record() == {**NONE, "story_in_training": 1, "left_out": 1}
    assert [leak.story for leak in result.leaks] == [story]


def test_the_same_image_in_training(prepared):
    train, test = change(prepared, "train"), prepared.windows("test")
    train.image_rows[3, 1] = test.image_rows[0, 4]
    result = found(prepared)
    assert result.record() == {**NONE, "near_duplicate_across_splits": 1, "left_out": 1}
    assert result.leaks[0].detail == f"its image is a near duplicate of one of {train.stories[3]}, in train"


def test_a_reencoded_image_in_training(prepared, tmp_path):
    images = prepared.frames.images.gather(np.arange(len(prepared.frames.images)))
    target = prepared.windows("test").image_rows[0, 4]
    Image.fromarray(images[target]).resize((96, 96)).save(tmp_path / "again.jpg", quality=60)
    again = Image.open(tmp_path / "again.jpg").resize((64, 64))
    row = prepared.windows("train").image_rows[2, 0]
    images[row] = np.asarray(again)
    assert (images[row] != images[target]).any()
    result = found(with_pictures(prepared, images))
    assert result.record() == {**NONE, "near_duplicate_across_splits": 1, "left_out": 1}


def test_images_with_similar_hashes_and_other_pixels_are_no_leak(prepared):
    images = prepared.frames.images.gather(np.arange(len(prepared.frames.images)))
    target, row = prepared.windows("test").image_rows[0, 4], prepared.windows("train").image_rows[2, 0]
    images[row] = images[target]
    images[row, 20:44, 20:44, 0] = 255 - images[row, 20:44, 20:44, 0]  # its hash sees grey values, and these little
    hashes = [perceptual_hash(image) for image in images]
    with_pictures(prepared, images)
    prepared.image_facts.hash[row] = hashes[target]
    assert found(prepared).record() == NONE


def test_a_context_image_in_training_is_no_leak(prepared):
    change(prepared, "train").image_rows[3, 1] = prepared.windows("test").image_rows[0, 2]
    assert found(prepared).record() == NONE


def test_other_data_is_compared_with_the_training_data(prepared, folder):
    elsewhere = open_prepared(folder)
    assert elsewhere.windows("train").stories
    prepared._windows["test"] = prepared.windows("train")
    assert found(prepared, training=elsewhere).record()["story_in_training"] == len(prepared.windows("train"))


def test_the_train_split_is_audited_for_leaks_within_windows(prepared):
    assert found(prepared, "train").record() == NONE


def test_a_window_with_two_leaks_is_left_out_once(prepared):
    windows = change(prepared, "test")
    windows.text_rows[0, 4], windows.image_rows[0, 4] = windows.text_rows[0, 0], windows.image_rows[0, 0]
    result = found(prepared)
    assert result.record() == {**NONE, "target_text_in_context": 1, "target_image_in_context": 1, "left_out": 1}
    assert result.leaks[0].record() == {
        "story": windows.stories[0],
        "start": 0,
        "reasons": ["target_text_in_context", "target_image_in_context"],
        "detail": "",
    }


def made_windows():
    """Return six windows: valid, text leak, image leak, both, padded, valid."""
    image = np.arange(30).reshape(6, 5)
    text = np.arange(30).reshape(6, 5)
    text[1, 4], image[2, 4] = text[1, 0], image[2, 3]
    text[3, 4], image[3, 4] = text[3, 2], image[3, 2]
    repeated = np.zeros((6, 5), dtype=bool)
    repeated[4, 3] = True
    return Windows([f"s{number}" for number in range(6)], image, text, repeated, np.zeros(6, dtype=np.int64))


def test_a_target_equal_to_a_context_text_except_for_tags_is_a_leak():
    texts = [f"text {row}" for row in range(30)]
    texts[4] = "<gdo 1>Text</gdo> \u201c2\u201d"
    texts[2] = 'Text "2"'
    assert np.flatnonzero(leaks_within(made_windows(), texts)["target_text_in_context"]).tolist() == [0, 1, 3]


def test_a_target_in_another_window_is_no_leak():
    windows = made_windows().take(np.asarray([0, 5]))
    image_rows = windows.image_rows.copy()
    image_rows[0, 4] = image_rows[1, 0]
    assert not leaks_within(replace(windows, image_rows=image_rows), ["a", "b"] * 15)["target_image_in_context"].any()
