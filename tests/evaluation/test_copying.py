"""The shares of texts and images that are copied from their contexts."""

import io

import numpy as np
import pytest
from PIL import Image

from vsr_cli.api import copied_share
from vsr_cli.data.prepared import open_prepared
from vsr_cli.data.shards import ArrayRows, ChosenRows
from vsr_cli.evaluation.copying import copied, copied_images, repeated_image, repeated_text

CONTEXT = ["The dog ran to the sea.", "It rained.", "the dog ran to the sea"]


@pytest.mark.parametrize(
    ("text", "index", "share"),
    [
        ("The Dog ran to the sea!", 2, 1.0),
        ("The dog ran to the old sea.", None, 0.5),
        ("It rained.", 1, 0.0),  # too short for a run of four words
        ("", None, 0.0),
    ],
)
def test_a_text_repeats_another_with_the_same_words(text, index, share):
    assert repeated_text(text, CONTEXT) == index
    assert copied_share(text, CONTEXT, n=4) == share


def test_the_shares_are_means_over_windows():
    found = copied(["It rained.", "The dog ran to the old sea."], [CONTEXT, CONTEXT])
    assert found == {"repeats_context": 0.5, "context-overlap-4": 0.25}


def drawing(seed):
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC))


def saved_again(image):
    encoded = io.BytesIO()
    Image.fromarray(image).save(encoded, "JPEG", quality=90, subsampling=0)
    return np.asarray(Image.open(encoded))


@pytest.mark.parametrize(
    ("image", "index"),
    [
        (drawing(1), 2),  # the last of equal ones
        (saved_again(drawing(0)), 0),
        (drawing(3), None),
        (np.clip(drawing(0) // 2 + 64, 0, 255).astype(np.uint8), None),  # a ghost: the same hash, other pixels
    ],
)
def test_an_image_repeats_another_with_nearly_the_same_pixels(image, index):
    assert repeated_image(image, [drawing(0), drawing(1), drawing(1)]) == index


def test_the_share_of_copied_images_is_that_of_windows_whose_own_context_has_them(data):
    prepared = open_prepared(data)
    windows = prepared.windows("test")
    frames = prepared.frames.images
    last = ChosenRows(frames, windows.image_rows[:, -2])
    assert copied_images(last, prepared, windows) == 1
    noise = np.random.default_rng(0).integers(0, 256, (len(windows), 32, 32, 3), np.uint8)
    assert copied_images(ArrayRows(noise), prepared, windows) == 0
    half = noise.copy()
    half[::2] = last.gather(np.arange(0, len(windows), 2))
    assert copied_images(ArrayRows(half), prepared, windows) == pytest.approx(-(-len(windows) // 2) / len(windows))
