"""`Model.predict`: the same prediction from whatever a story is made of, and as the command writes it."""

import io
import json
import threading
from html import escape

import numpy as np
import pytest
import torch
from PIL import Image

import vsr_cli as vsr
from vsr_cli.cli.predict import run_predict
from vsr_cli.data.prepared import open_prepared
from vsr_cli.files.strict_json import SEAL
from vsr_cli.plugin.discovery import registry
from vsr_cli.runs.run import Run

from ..folders import contents
from .conftest import TEXTS


def shown(frame):
    return frame.text, frame.image.size, frame.image.tobytes()


def encoded(image):
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def chw(image):
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


FORMS = {
    "pillow": lambda image: image,
    "palette": lambda image: image.quantize(256),
    "opaque": lambda image: image.convert("RGBA"),
    "bytes": encoded,
    "uint8": np.asarray,
    "int64": lambda image: np.asarray(image).astype(np.int64),
    "floats": lambda image: np.asarray(image) / 255,
    "half": lambda image: (np.asarray(image) / 255).astype(np.float32),
    "channels first": lambda image: np.moveaxis(np.asarray(image), 2, 0),
    "tensor": chw,
    "tensor of floats": lambda image: chw(image) / 255,
    "sparse": lambda image: chw(image).to_sparse(),
    "rounded above 1": lambda image: np.asarray(image) / 255 + 1e-7,
    "tensor with gradient": lambda image: (chw(image) / 255).requires_grad_(),
}


@pytest.fixture(scope="module")
def expected(model, story):
    return shown(model.predict(story))


def test_default_dtype_and_device_of_the_program_change_nothing(model, story, expected):
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    try:
        assert shown(vsr.load(model.run).predict(story)) == expected
        with pytest.raises(vsr.VsrError):
            vsr.load("absent")
        assert (torch.get_default_dtype(), torch.get_default_device().type) == (torch.float64, "meta")
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)


@pytest.mark.parametrize("form", FORMS)
def test_an_image_is_the_same_in_every_form(model, images, expected, form):
    if form == "palette":
        images = [image.quantize(16).convert("RGB") for image in images]
        expected = shown(model.predict(images=images[:4], texts=TEXTS[:4]))
    given = [FORMS[form](image) for image in images[:4]]
    assert shown(model.predict(images=given, texts=TEXTS[:4])) == expected


def test_images_and_texts_may_be_arrays(model, images, expected):
    given = np.stack([np.asarray(image) for image in images[:4]])  # (N, H, W, 3)
    assert shown(model.predict(images=given, texts=np.array(TEXTS[:4]))) == expected


def test_a_story_may_be_a_folder_its_pairs_or_a_story_json(model, story, images, expected, tmp_path):
    pairs = list(zip(images[:4], TEXTS, strict=False))
    lines = ", ".join(f'{{"image": "{n:02}.png", "text": "{text}"}}' for n, (_, text) in enumerate(pairs, start=1))
    for n, (image, _) in enumerate(pairs, start=1):
        image.save(tmp_path / f"{n:02}.png")
    (tmp_path / "story.json").write_text(f'{{"frames": [{lines}]}}')
    lists = [list(pair) for pair in pairs]  # as JSON and pandas have them
    for given in (str(story), pairs, tuple(pairs), lists, tmp_path, tmp_path / "story.json"):
        assert shown(model.predict(given)) == expected


def test_a_saved_frame_is_what_the_command_writes(model, run, story, tmp_path):
    for alternatives, options, place in (
        (1, {}, ""),
        (2, {"method": "sample", "seed": 3}, "alternatives-sample-seed3"),
    ):
        decoding = vsr.api.Decoding(**options)
        command = tmp_path / f"command{alternatives}"
        assert not run_predict(
            registry(), Run(run), [story], command, decoding=decoding, as_json=True, alternatives=alternatives
        )
        saved = model.predict(story, alternatives=alternatives, **options).save(tmp_path / f"python{alternatives}")
        ours, theirs = contents(saved), contents(command / "ana" / place)
        records = [json.loads(each.pop("prediction.json")) for each in (ours, theirs)]
        assert ours == theirs
        for record, folder in zip(records, (saved, command / "ana" / place), strict=True):
            assert record["image"] == str(folder / ("image.png" if alternatives == 1 else "image-1.png"))
            for name in ("image", "alternatives", "storyboard", SEAL):  # which name the folder
                record.pop(name, None)
        assert records[0] == records[1]


def test_a_batch_gives_what_each_story_gives_alone(model, story, images):
    other = list(zip(images[1:], TEXTS[1:5], strict=True))
    batch = model.predict([story, other], method="sample", seed=2)
    assert [frame.story for frame in batch] == ["ana", "story-2"]
    assert [shown(frame) for frame in batch] == [
        shown(model.predict(each, method="sample", seed=2)) for each in (story, other)
    ]


def test_the_order_of_options_does_not_matter(model, story):
    assert shown(model.predict(story, seed=3, method="sample")) == shown(model.predict(story, method="sample", seed=3))


def test_alternatives_differ_and_the_first_is_the_plain_prediction(model, story):
    frame = model.predict(story, alternatives=3, method="sample", seed=3)
    assert frame.alternatives[0] is frame
    assert shown(frame) == shown(model.predict(story, method="sample", seed=3))
    assert len({each.text for each in frame.alternatives}) == 3
    assert frame.storyboard().height > model.predict(story).storyboard().height


def test_predictions_from_several_threads_are_those_of_one(model, story, expected):
    found = []
    threads = [threading.Thread(target=lambda: found.append(shown(model.predict(story)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4


def test_jupyter_shows_the_storyboard_and_the_text(model, story):
    frame = model.predict(story)
    assert Image.open(io.BytesIO(frame._repr_png_())).size == frame.storyboard().size
    assert 'src="data:image/png;base64,' in frame._repr_html_()
    assert frame.text in repr(frame)


def test_a_story_unlike_all_training_stories_has_a_caution(run, story, images, small_data, capsys):
    model = vsr.load(run, device="cpu")
    unlike = model.predict(story)
    assert unlike.caution == model.continue_story(story, steps=1).caution
    assert unlike.caution.startswith(f"ana: 88% of its words are in no story that the run {run.name} was trained on")
    assert escape(unlike.caution) in unlike._repr_html_()
    assert capsys.readouterr().err.split() == f"warning: {unlike.caution}".split()  # once
    like = model.predict(images=images[:4], texts=open_prepared(small_data).training_texts()[:4])
    assert like.caution is None
    assert "warning" not in capsys.readouterr().err


SIX = np.zeros((4, 6, 3), np.uint8)
MISTAKES = {
    "counts": ({"images": [SIX] * 4, "texts": TEXTS[:3]}, "images, texts: not as many (got 4 and 3)"),
    "no texts": ({"images": [SIX] * 4}, "texts: missing"),
    "nothing": ({}, "images: missing"),
    "one text": ({"images": [SIX], "texts": "Ana"}, "texts: not a list of texts (got str)"),
    "no frames": ({"images": [], "texts": []}, "story: a story without frames"),
    "text of bytes": ({"images": [SIX], "texts": [b"Ana"]}, "story, frame 1: its text is not a string (got bytes)"),
    "blank text": ({"images": [SIX], "texts": ["  "]}, "story story, frame 1: it has no text"),
    "NaN": ({"images": [np.full((4, 4, 3), np.nan)], "texts": ["a"]}, "it holds values that are not finite"),
    "range": ({"images": [np.full((4, 4, 3), 255.0)], "texts": ["a"]}, "out of range (got float64 from 255 to 255)"),
    "negative": ({"images": [np.full((4, 4, 3), -1)], "texts": ["a"]}, "out of range (got int64 from -1 to -1)"),
    "shape": ({"images": [np.zeros((2, 4, 4, 3))], "texts": ["a"]}, "not of the shape of an image"),
    "empty array": ({"images": [np.zeros((0, 4, 3))], "texts": ["a"]}, "it has no pixels"),
    "objects": ({"images": [np.array([["a"]])], "texts": ["a"]}, "its values are of type <U1"),
    "no image": ({"images": [3], "texts": ["a"]}, "story, image 1: not an image (got int)"),
    "absent file": ({"images": ["absent.png"], "texts": ["a"]}, "absent.png: no such file"),
    "broken bytes": ({"images": [b"PNG"], "texts": ["a"]}, "it is not an image of a supported format"),
    "absent folder": ({"story": "absent"}, "absent: there is no such folder"),
    "a number": ({"story": 3}, "story: not a story (got int)"),
    "no stories": ({"story": []}, "story: an empty list"),
    "unordered": ({"images": [SIX], "texts": {"a"}}, "texts: not a list of texts (got set)"),
    "half a character": ({"images": [SIX], "texts": ["a \ud800"]}, "frame 1: its text is not Unicode"),
    "open file": ({"images": [io.BytesIO()], "texts": ["a"]}, "story, image 1: not an image (got BytesIO)"),
    "no values": ({"images": [torch.zeros(3, 4, 4, device="meta")], "texts": ["a"]}, "a tensor without values"),
    "address": ({"images": ["https://a.org/1.png"], "texts": ["a"]}, "image 1: addresses are not read"),
    "address of a story": ({"story": "https://a.org/story"}, "story: addresses are not read"),
    "no name": ({"story": "a\0b"}, "story: not a name that a file can have"),
    "both": ({"story": "absent", "texts": ["a"]}, "pass a story, or images and texts, not both"),
    "odd pair": ({"story": [("a.png", "a"), "b"]}, "story, frame 2: not a pair (image, text) (got str)"),
    "method": ({"story": "absent", "method": "samples"}, "method='samples'"),
    "idle option": ({"story": "absent", "temperature": 0.5}, "greedy decoding does not use it"),
    "unknown option": ({"story": "absent", "temprature": 0.5}, "did you mean temperature?"),
    "alternatives": ({"story": "absent", "alternatives": 0}, "alternatives: not a number from 1 to 100 (got 0)"),
    "not random": ({"story": "absent", "alternatives": 2}, "so all would be the same"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_line(model, case):
    arguments, part = MISTAKES[case]
    with pytest.raises(vsr.VsrError) as caught:
        model.predict(**arguments)
    assert part in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_all_bad_stories_of_a_batch_are_reported(model, story):
    with pytest.raises(vsr.VsrError) as caught:
        model.predict(["absent", story, [("a.png", 3)]])
    assert len(caught.value.lines) == 2
    assert caught.value._render_traceback_() == [f"VsrError: {line}" for line in caught.value.lines]  # in Jupyter


@pytest.mark.parametrize("folder", ["file", "file/below", "", None, "a\0b", "/proc/absent"])
def test_a_folder_that_cannot_be_written_is_one_line(model, story, tmp_path, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    for made in (model.predict(story), model.continue_story(story, steps=1)):
        with pytest.raises(vsr.VsrError) as caught:
            made.save(folder)
        assert len(str(caught.value).splitlines()) == 1
    assert contents(tmp_path) == {"file": b""}


def test_a_home_folder_and_a_new_working_directory_are_followed(run, story, tmp_path, monkeypatch):
    monkeypatch.chdir(run.parent)
    model = vsr.load(run.name)
    monkeypatch.chdir(story.parent)
    continued = model.continue_story(story.name, steps=1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert model.run == run
    assert (continued.save("~/out") / "01.png").read_bytes() == (story / "01.png").read_bytes()
    assert (tmp_path / "out" / "storyboard.png").is_file()


def test_load_reports_a_missing_run_device_or_checkpoint(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments, part in (
        ({"run": "absent"}, "absent: there is no such folder"),
        ({}, "no finished run here"),
        ({"run": 3}, r"run: not a path \(got int\)"),
        ({"run": run, "device": None}, "device: None is not available on this machine"),
        ({"run": run, "device": "tpu"}, "device: tpu is not available on this machine"),
        ({"run": run, "device": "cuda:99"}, "device: cuda:99 is not available on this machine"),
        ({"run": run, "checkpoint": "first"}, "checkpoint: 'first' is not one of best, last"),
    ):
        with pytest.raises(vsr.VsrError, match=part):
            vsr.load(**arguments)
    assert vsr.load(run, checkpoint="last", device=torch.device("cpu")).run == run


@pytest.fixture(scope="module")
def drawing_model(tmp_path_factory, train_small):
    settings = ("image_decoder.name=tokens", "image_decoder.autoencoder=storyworld")
    return vsr.load(train_small(tmp_path_factory.mktemp("runs") / "tokens", *settings).folder, device="cpu")


def test_an_image_is_drawn_from_a_text_as_it_is_from_a_generated_one(drawing_model, story, images):
    frame = drawing_model.predict(story, method="sample", seed=3)
    assert drawing_model.reads_text
    assert drawing_model.draw(story, frame.text, seed=3).tobytes() == frame.image.tobytes()
    assert drawing_model.draw(story, "Ana sleeps.", seed=3).size == frame.image.size
    longer = [*zip(images[:4], TEXTS, strict=False), (images[4], "Ana is left out.")]
    assert drawing_model.draw(longer, frame.text, from_frame=4, seed=3).tobytes() == frame.image.tobytes()


def test_a_text_that_cannot_be_drawn_is_one_line(model, drawing_model, story):
    with pytest.raises(vsr.VsrError, match="the image decoder deconv does not read the text of a frame"):
        model.draw(story, "Ana sleeps.")
    for text in ("", " ", 3):
        with pytest.raises(vsr.VsrError, match="text: no words"):
            drawing_model.draw(story, text)
    with pytest.raises(vsr.VsrError, match=r"decoding\.seed"):
        drawing_model.draw(story, "Ana sleeps.", seed=-1)
