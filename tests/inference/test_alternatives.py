"""Several predictions of one story."""

import numpy as np
import pytest
import torch
from PIL import Image

from vsr_cli.api import Decoding
from vsr_cli.api.decoding import alternative_decodings
from vsr_cli.config.experiment import resolve_train
from vsr_cli.config.resolve import parse_set, preset_layer
from vsr_cli.files.atomic import read_json
from vsr_cli.inference.alternatives import write_alternatives
from vsr_cli.inference.predict import predict_alternatives, shown_image
from vsr_cli.model.building import build_model
from vsr_cli.plugin.discovery import registry
from vsr_cli.plugin.registry import Registry

from ..generative_decoder import PROVIDED
from .test_predict import SIZE, story

SMALL = ["model.width=16", "visual.size=32", "text_decoder.length=6"]
SAMPLED = Decoding(method="sample", seed=5)


@pytest.fixture(scope="module")
def build():
    def building(decoder):
        torch.manual_seed(0)
        found = Registry((*registry().provided, PROVIDED))
        layers = [preset_layer("tiny"), *parse_set([*SMALL, f"image_decoder.name={decoder}"])]
        texts = [f"line {number} of a story that goes on" for number in range(9)]
        config = resolve_train(found, preset="tiny", layers=layers)
        return build_model(config, image_size=SIZE, training_texts=lambda: texts).eval()

    return building


@pytest.fixture(scope="module")
def painter(build):
    return build("text-painter")


def predicted(model, *decodings):
    return predict_alternatives(
        model,
        story(4),
        context_frames=4,
        image_size=SIZE,
        resize="stretch",
        device=torch.device("cpu"),
        decodings=decodings,
    )


def alternatives(model, decoding, count):
    return predicted(model, *alternative_decodings(decoding, count))


def shown(frames):
    return [(frame.text, frame.image.tobytes()) for frame in frames]


def test_the_first_alternative_is_the_plain_prediction_and_more_leave_the_others_as_they_are(painter):
    three, two = (shown(alternatives(painter, SAMPLED, count)) for count in (3, 2))
    assert three[:2] == two
    assert shown(predicted(painter, SAMPLED)) == three[:1]
    assert len({text for text, _ in three}) == len({image for _, image in three}) == 3


def test_each_alternative_is_what_its_own_seed_predicts(painter):
    for decoding, frame in zip(alternative_decodings(SAMPLED, 3), alternatives(painter, SAMPLED, 3), strict=True):
        assert shown(predicted(painter, decoding)) == shown([frame])


def test_a_text_that_is_not_random_is_written_once_and_drawn_several_times(painter, monkeypatch):
    calls = []
    generate = painter.text_decoder.generate
    monkeypatch.setattr(painter.text_decoder, "generate", lambda *given: calls.append(given) or generate(*given))
    frames = alternatives(painter, Decoding(), 3)
    assert len(calls) == len({frame.text for frame in frames}) == 1
    assert len({frame.image.tobytes() for frame in frames}) == 3


@pytest.mark.parametrize(
    ("decoder", "method", "varies"),
    [
        ("deconv", "greedy", False),
        ("deconv", "beam", False),
        ("deconv", "sample", True),
        ("text-painter", "beam", True),
    ],
)
def test_predictions_vary_with_the_seed_if_the_text_or_the_image_is_random(build, decoder, method, varies):
    assert build(decoder).can_vary(Decoding(method=method)) == varies


def test_alternatives_have_files_of_their_own_and_replace_more_of_them(painter, tmp_path):
    for count in (3, 2):
        frames = alternatives(painter, Decoding(), count)
        decodings = alternative_decodings(Decoding(), count)
        written = write_alternatives(frames, tmp_path, run=tmp_path, decodings=decodings)
    names = ["image-1.png", "image-2.png", "prediction.json", "storyboard.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    record = read_json(tmp_path / "prediction.json", what="a prediction")
    assert record == written
    assert [each["image"] for each in record["alternatives"]] == [str(tmp_path / name) for name in names[:2]]
    assert record["image"] == str(tmp_path / "image-1.png")
    assert record["alternatives"][0]["seed"] == 0
    assert np.array_equal(Image.open(tmp_path / "image-2.png"), shown_image(frames[1]))


def test_the_storyboard_shows_the_context_above_the_predictions(painter, tmp_path, monkeypatch):
    rows = []
    monkeypatch.setattr(
        "vsr_cli.inference.alternatives.draw_storyboard", lambda given: rows.extend(given) or Image.new("RGB", (1, 1))
    )
    frames = alternatives(painter, SAMPLED, 5)
    write_alternatives(frames, tmp_path, run=tmp_path, decodings=alternative_decodings(SAMPLED, 5))
    labels = [[panel.label for panel in row] for row in rows]
    assert labels == [
        [f"frame {number}" for number in (1, 2, 3, 4)],
        [f"predicted {number}" for number in (1, 2, 3, 4)],
        ["predicted 5"],
    ]
    assert [panel.caption for row in rows[1:] for panel in row] == [frame.text for frame in frames]
