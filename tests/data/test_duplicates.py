"""Pairs of hashes that differ in few bits."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vsr_cli.api import Story
from vsr_cli.data import duplicates
from vsr_cli.data.duplicates import digest_image, near_duplicates, perceptual_hash
from vsr_cli.data.images import (
    decode_image,
    fit_image,
)
from vsr_plugins.datasets import StoryWorldOptions
from vsr_plugins.datasets.storyworld.reader import build as build_storyworld

# Few bits, so that there are pairs at every distance.
hashes = st.lists(st.sampled_from([0, 1, 3, 7, 15, 31, 1 << 63, (1 << 64) - 1, (1 << 64) - 2]), max_size=9)


def by_hand(left: list[int], right: list[int], distance: int) -> list[list[int]]:
    return [[i, j] for i, a in enumerate(left) for j, b in enumerate(right) if (a ^ b).bit_count() <= distance]


@pytest.mark.parametrize("cells", [1, 3, 1 << 18])
@given(left=hashes, right=hashes, distance=st.sampled_from([0, 1, 2, 5, 63, 64]))
def test_pairs_equal_brute_force(cells, left, right, distance):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "CELLS", cells)
        pairs = near_duplicates(np.array(left, np.uint64), np.array(right, np.uint64), distance=distance)
    assert (pairs.dtype, pairs.shape[1]) == (np.int64, 2)
    assert sorted(pairs.tolist()) == by_hand(left, right, distance)


def test_pairs_are_ordered():
    some = np.arange(50, dtype=np.uint64)
    pairs = near_duplicates(some, some, distance=2)
    assert pairs.tolist() == by_hand(some.tolist(), some.tolist(), 2)


def test_hashes_are_compared_by_blocks(monkeypatch):
    sizes = []
    count = np.bitwise_count
    monkeypatch.setattr(duplicates.np, "bitwise_count", lambda bits: sizes.append(bits.size) or count(bits))
    monkeypatch.setattr(duplicates, "CELLS", 1000)
    rng = np.random.default_rng(0)
    left, right = (rng.integers(0, 2**64, size, dtype=np.uint64) for size in (700, 2300))
    assert near_duplicates(left, left[:3], distance=0).tolist() == [[0, 0], [1, 1], [2, 2]]
    assert len(near_duplicates(left, right, distance=3)) == 0
    assert max(sizes) <= 1000


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def hatched(width: int, height: int) -> Image.Image:
    """An image whose corners, edges and middle all differ."""
    y, x = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack([x * 255 // width, y * 255 // height, (x + y) % 2 * 40], axis=2).astype(np.uint8))


def drawn_stories(stories: int) -> list[list[Image.Image]]:
    """The images of embedded stories: within a story, the same friends at the same positions."""
    dataset = build_storyworld(StoryWorldOptions(stories=stories, width=192, height=80))
    return [
        [decode_image(frame.image, where="x") for frame in story.frames]
        for story in dataset.read(None)
        if isinstance(story, Story)
    ]


def hashes(images: list[Image.Image]) -> np.ndarray:
    return np.array([perceptual_hash(fit_image(image, 64, "stretch")) for image in images], dtype=np.uint64)


def small(image: Image.Image, share: float) -> Image.Image:
    size = (round(image.width * share), round(image.height * share))
    return image.resize(size, Image.Resampling.LANCZOS)


STRANGE = 10
"""More bits than differ between two encodings of an image, and fewer than between two stills of a scene."""


@pytest.mark.parametrize(
    "change",
    [
        lambda image: encode(image, "JPEG", quality=40),
        lambda image: encode(image, "WEBP", quality=60),
        lambda image: encode(small(image, 0.6), "JPEG", quality=75),
        lambda image: encode(small(image, 1.4), "PNG"),
        lambda image: encode(image.point(lambda value: min(255, round(value * 1.05) + 3)), "PNG"),
    ],
    ids=["jpeg", "webp", "smaller", "larger", "brighter"],
)
def test_hash_of_a_reencoded_image_differs_little(change) -> None:
    images = [image for story in drawn_stories(6) for image in story]
    again = [decode_image(change(image), where="x") for image in images]
    assert np.bitwise_count(hashes(images) ^ hashes(again)).max() < STRANGE
    assert np.bitwise_count(hashes(images) ^ hashes(again)).mean() < 3


def test_hashes_of_frames_of_one_story_differ() -> None:
    for story in drawn_stories(12):
        bits = hashes(story)
        apart = np.bitwise_count(bits[:, None] ^ bits)[np.triu_indices(len(bits), 1)]
        assert apart.min() >= STRANGE
        assert apart.mean() > 20


def test_hash_has_64_bits_and_uniform_images_are_similar() -> None:
    plain = [perceptual_hash(np.full((16, 40, 3), value, dtype=np.uint8)) for value in (0, 1, 128, 255)]
    assert all((first ^ second).bit_count() <= 1 for first in plain for second in plain)
    assert all(0 <= perceptual_hash(np.asarray(hatched(*shape))) < 2**64 for shape in ((224, 224), (5, 70), (1, 1)))


def test_digest_depends_on_pixels_and_shape() -> None:
    array = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    other = array.copy()
    other[3, 3, 2] ^= 1
    digests = {digest_image(item) for item in (array, other, array.reshape(2, 8, 3), array[::-1])}
    assert len(digests) == 4
    assert digest_image(array) == digest_image(np.asfortranarray(array))
    assert all(len(digest) == 32 for digest in digests)
