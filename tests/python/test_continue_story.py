"""`Model.continue_story`: each predicted frame joins the context, in memory as through a story folder."""

import io
import json

import numpy as np
import pytest
from PIL import Image

import vsr_cli as vsr

from .conftest import TEXTS
from .test_predict import shown

SAMPLED = {"method": "sample", "seed": 3}


@pytest.fixture(scope="module")
def continued(model, story):
    return model.continue_story(story, steps=3, alternatives=2, pick=[2, 1], **SAMPLED)


def test_each_frame_is_predicted_from_the_story_with_those_before_it(model, story, images, continued):
    pairs = list(zip(images[:4], TEXTS, strict=False))
    for frame, pick in zip(continued, (2, 1, 1), strict=True):
        assert frame is frame.alternatives[pick - 1]
        by_hand = model.predict(pairs, alternatives=2, **SAMPLED).alternatives[pick - 1]
        assert shown(frame) == shown(by_hand)
        pairs.append((by_hand.image, by_hand.text))


def test_continuing_the_saved_story_is_continuing_further(model, story, continued, tmp_path):
    first = model.continue_story(story, steps=1, alternatives=2, pick=2, **SAMPLED)
    folder = first.save(tmp_path / "out")
    further = model.continue_story(folder, steps=2, alternatives=2, **SAMPLED)
    assert [shown(frame) for frame in [*first, *further]] == [shown(frame) for frame in continued]
    assert [shown(frame) for frame in model.continue_story(first.pairs, steps=2, **SAMPLED)] == [
        shown(frame) for frame in further
    ]


def test_a_story_goes_on_from_an_earlier_frame_without_those_after_it(model, story, images):
    shorter = model.continue_story(images=images[:2], texts=TEXTS[:2], steps=2)
    assert [shown(frame) for frame in model.continue_story(story, from_frame=2, steps=2)] == [
        shown(frame) for frame in shorter
    ]
    assert shorter.texts == [*TEXTS[:2], *(frame.text for frame in shorter)]
    assert [image.size for image in shorter.images] == [(48, 32)] * 4


def test_the_saved_story_has_numbered_pairs_and_given_images_as_they_are(story, continued, tmp_path):
    folder = continued.save(tmp_path / "out")
    assert folder == tmp_path / "out/ana"
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        f"{number:02}.{suffix}" for number in range(1, 8) for suffix in ("png", "txt")
    )
    for number in range(1, 5):
        assert (folder / f"{number:02}.png").read_bytes() == (story / f"{number:02}.png").read_bytes()
    assert (folder / "07.txt").read_text(encoding="utf-8") == f"{continued[2].text}\n"
    others = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert others == ["alternatives", "alternatives.png", "ana", "continuation.json", "story.gif", "storyboard.png"]
    assert (tmp_path / "out/alternatives/05-1.txt").read_text().strip() == continued[0].alternatives[0].text
    record = json.loads((tmp_path / "out/continuation.json").read_text())
    assert [(step["frame"], step["pick"], step["text"]) for step in record["steps"]] == [
        (5 + index, pick, continued[index].text) for index, pick in enumerate((2, 1, 1))
    ]


@pytest.mark.parametrize("edit", ["change", "add", "remove"])
def test_an_edited_story_is_not_overwritten(continued, tmp_path, edit):
    folder = continued.save(tmp_path / "out")
    continued.save(tmp_path / "out")  # nothing was edited yet
    path = folder / ("08.txt" if edit == "add" else "05.txt")
    path.unlink() if edit == "remove" else path.write_text("Another text.")
    with pytest.raises(vsr.VsrError, match=f"{path.name}: was edited, and would be overwritten"):
        continued.save(tmp_path / "out")
    assert path.exists() != (edit == "remove")


def test_a_smaller_continuation_leaves_nothing_of_the_one_before(model, story, continued, tmp_path):
    continued.save(tmp_path / "out")
    folder = model.continue_story(story, steps=1).save(tmp_path / "out")
    assert not (folder / "06.png").exists()
    assert not list((tmp_path / "out").glob("alternatives*"))


def test_the_animation_shows_each_frame_of_the_story(continued):
    animation = Image.open(io.BytesIO(continued.gif()))
    assert animation.n_frames == 7
    assert Image.open(io.BytesIO(continued._repr_png_())).size == continued.storyboard().size
    assert "<img" in continued._repr_html_()


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"steps": 0}, "steps: not a number from 1 to 100 (got 0)"),
        ({"steps": 100, "alternatives": 5, "method": "sample"}, "500 predictions; at most 400"),
        ({"pick": 2}, "--pick 2: there is no such alternative"),
        ({"pick": []}, "--pick: no number"),
        ({"pick": "2"}, "pick: not a number or a list of them (got '2')"),
        ({"pick": None}, "pick: not a number or a list of them (got None)"),
        ({"from_frame": "2"}, "ana: has no frame 2 to go on from"),
        ({"pick": [1, 1, 1, 1]}, "--pick: 4 numbers for 3 steps"),
        ({"from_frame": 9}, "ana: has no frame 9 to go on from"),
        ({"alternatives": 2}, "all would be the same"),
        ({"texts": ["a"]}, "story: pass a story, or images and texts, not both"),
    ],
)
def test_a_mistake_is_one_line(model, story, arguments, part):
    with pytest.raises(vsr.VsrError) as caught:
        model.continue_story(story, **arguments)
    assert part in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_every_frame_of_the_story_needs_both_halves(model, images):
    with pytest.raises(vsr.VsrError, match="frame 1: it has no text; every frame of a story to continue needs both"):
        model.continue_story(images=images, texts=[" ", *TEXTS[1:5]])


def test_no_story_goes_on_from_a_frame_without_words(model, story, monkeypatch):
    monkeypatch.setattr("vsr_cli.inference.predict.shown_text", lambda *_: "")
    assert [frame.text for frame in model.continue_story(story, steps=1)] == [""]
    with pytest.raises(vsr.VsrError, match="ana: frame 5 has no words, so the story cannot go on from it"):
        model.continue_story(story, steps=2)


def test_numbers_may_be_those_of_numpy(model, story):
    two, one = np.int64(2), np.int64(1)
    continued = model.continue_story(story, steps=two, alternatives=two, pick=np.array([two, one]), method="sample")
    assert continued.texts == model.continue_story(story, steps=2, alternatives=2, pick=[2, 1], method="sample").texts
    assert model.predict(story, from_frame=two).text == model.predict(story, from_frame=2).text
