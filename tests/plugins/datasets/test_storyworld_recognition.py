"""The network that reads storyworld's images, against what the generator drew."""

import io

import numpy as np
import pytest
from PIL import Image

from vsr_cli.data.images import fit_image
from vsr_plugins.datasets.storyworld.cast import CHARACTERS, PLACES
from vsr_plugins.datasets.storyworld.drawing import Illustrator
from vsr_plugins.datasets.storyworld.recognition import WEIGHTS, recognize
from vsr_plugins.datasets.storyworld.world import draw_world, scene_at

STORIES = 60


@pytest.fixture(scope="module")
def drawn():
    """The scenes of stories of another seed than any in training, and their drawings."""
    illustrator = Illustrator(width=480, height=208)
    worlds = [draw_world(31, index) for index in range(STORIES)]
    scenes = [(scene_at(world, t), world.sway[t]) for world in worlds for t in range(len(world))]
    drawings = [Image.open(io.BytesIO(illustrator.draw(scene, sway=sway).jpeg)) for scene, sway in scenes]
    return [scene for scene, _ in scenes], drawings


@pytest.mark.parametrize("size", [64, 128])
def test_it_reads_true_images_of_unseen_stories_as_the_generator_drew_them(drawn, size):
    scenes, drawings = drawn
    found = recognize([fit_image(drawing, size, "stretch") for drawing in drawings])
    casts = np.array([[each in (scene.friend, scene.other) for each in CHARACTERS] for scene in scenes])
    assert np.mean(found.places == [PLACES.index(scene.place) for scene in scenes]) >= 0.99
    assert np.mean(found.hours == [scene.hour for scene in scenes]) >= 0.99
    assert np.mean((found.characters == casts).all(axis=1)) >= 0.99


def test_it_sees_no_one_in_the_mean_of_many_images(drawn):
    scenes, drawings = drawn
    same_beat = [drawing for scene, drawing in zip(scenes, drawings, strict=True) if scene.beat == "hands over"]
    mean = np.mean([fit_image(drawing, 64, "stretch") for drawing in same_beat], axis=0).astype(np.uint8)
    gray = np.full((64, 64, 3), 128, np.uint8)
    assert not recognize([mean, gray]).characters.any()


def test_a_reading_does_not_depend_on_the_images_beside_it(drawn):
    images = [fit_image(drawing, 64, "stretch") for drawing in drawn[1][:3]]
    alone = [recognize([image]) for image in images]
    together = recognize(images[::-1])
    assert together.places[::-1].tolist() == [int(each.places[0]) for each in alone]
    assert together.characters[::-1].tolist() == [each.characters[0].tolist() for each in alone]


def test_the_weights_are_small():
    assert WEIGHTS.stat().st_size < 400_000
