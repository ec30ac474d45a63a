"""Place, time and characters of predicted images of storyworld."""

import io
from dataclasses import replace

import pytest
from PIL import Image

from vsr_cli.api import Options
from vsr_cli.data.images import fit_image
from vsr_plugins.datasets.storyworld import metrics
from vsr_plugins.datasets.storyworld.cast import CHARACTERS, PLACES
from vsr_plugins.datasets.storyworld.drawing import Illustrator
from vsr_plugins.datasets.storyworld.world import draw_world, scene_at

from ..metrics.samples import image_sample, scores

DRAWER = Illustrator(width=480, height=208)
SCENE = scene_at(draw_world(8, 0), 0)
OTHER_PLACE = next(place for place in PLACES if place != SCENE.place)
STRANGER = next(each for each in CHARACTERS if each not in (SCENE.friend, SCENE.other))


def drawn(**changes):
    scene = replace(SCENE, **changes)
    return fit_image(Image.open(io.BytesIO(DRAWER.draw(scene, sway=0.5).jpeg)), 96, "stretch")


ELSEWHERE = {"home": OTHER_PLACE, "goal": OTHER_PLACE, "other_home": OTHER_PLACE}


@pytest.mark.parametrize(
    ("changes", "place", "time", "characters"),
    [
        ({}, 1, 1, 1),
        (ELSEWHERE, 0, 1, 1),
        ({"hour": (SCENE.hour + 4) % 9}, 1, 0, 1),
        ({"other": STRANGER}, 1, 1, 0.5),
        ({**ELSEWHERE, "friend": STRANGER}, 0, 1, 0.5),
    ],
)
def test_each_metric_reads_its_own_part_of_the_image(changes, place, time, characters):
    sample = image_sample(drawn(**changes), drawn())
    assert scores(metrics.build_place(Options()), sample) == {"place": place}
    assert scores(metrics.build_time(Options()), sample) == {"time": time}
    found = scores(metrics.build_characters(Options()), sample)
    assert found == {"characters": characters, "characters-precision": characters, "characters-recall": characters}
