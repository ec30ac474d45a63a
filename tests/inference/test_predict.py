"""Prediction: context frames, refused stories and output folders."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vsr_cli.api import Decoding, Frame, Note, Story, TokenBatch
from vsr_cli.config.choices import Resize
from vsr_cli.config.experiment import resolve_train
from vsr_cli.config.resolve import parse_set, preset_layer
from vsr_cli.data.images import fit_image
from vsr_cli.errors import VsrError
from vsr_cli.evaluation.normalize import clean_text
from vsr_cli.evaluation.predictions import shown_text
from vsr_cli.files.atomic import LONGEST_NAME, file_name, replacing
from vsr_cli.inference.predict import (
    copied_from,
    output_folders,
    predict_alternatives,
    read_context,
    shown_image,
    write_prediction,
)
from vsr_cli.inference.story_folders import notes_on, story_up_to
from vsr_cli.model.building import build_model
from vsr_cli.plugin.discovery import registry

EMPTY = Note(code="empty_text", detail="3.txt: holds no text", frame=2)
SIZE, LENGTH = 32, 6
GREEDY = Decoding()
SMALL = ["model.width=16", "visual.size=32", f"text_decoder.length={LENGTH}", "image_decoder.channels=16"]


def picture(number: int, size: tuple[int, int] = (60, 40)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, (30 * number % 255, 80, 120)).save(file, "PNG")
    return file.getvalue()


def story(frames: int, **more: object) -> Story:
    pairs = tuple(Frame(image=picture(number), text=f" line {number}\n") for number in range(1, frames + 1))
    return Story(id="ana", frames=pairs, **more)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = resolve_train(registry(), preset="tiny", layers=[preset_layer("tiny"), *parse_set(SMALL)])
    texts = [f"line {number} of a story that goes on" for number in range(9)]
    return build_model(config, image_size=SIZE, training_texts=lambda: texts).eval()


def predict(model, context_story: Story, resize: Resize = "stretch", decoding: Decoding = GREEDY):
    (predicted,) = predict_alternatives(
        model,
        context_story,
        context_frames=4,
        image_size=SIZE,
        resize=resize,
        decodings=[decoding],
        device=torch.device("cpu"),
    )
    return predicted


@pytest.mark.parametrize(("frames", "numbers"), [(1, [1]), (3, [1, 2, 3]), (4, [1, 2, 3, 4]), (7, [4, 5, 6, 7])])
def test_the_context_is_the_last_four_frames(frames, numbers):
    context = read_context(story(frames), context_frames=4, image_size=SIZE, resize="stretch")
    assert [frame.number for frame in context] == numbers
    assert [frame.text for frame in context] == [f"line {number}" for number in numbers]
    assert all(frame.pixels.shape == (SIZE, SIZE, 3) and frame.pixels.dtype == np.uint8 for frame in context)
    assert context[-1].image.size == (60, 40)


@pytest.mark.parametrize("resize", ["stretch", "letterbox", "crop"])
def test_the_model_sees_the_image_as_prepared_data_has_it(resize):
    (frame,) = read_context(story(1), context_frames=4, image_size=SIZE, resize=resize)
    assert frame.image.size == (60, 40)
    np.testing.assert_array_equal(frame.pixels, fit_image(frame.image, SIZE, resize))


@pytest.mark.parametrize(("resize", "shown"), [("stretch", (48, 32)), ("letterbox", (32, 21)), ("crop", (32, 32))])
def test_the_predicted_image_is_shown_in_the_storys_proportions(model, tmp_path, monkeypatch, resize, shown):
    panels = []
    monkeypatch.setattr("vsr_cli.inference.predict.predicted_panel", lambda image, text: panels.append(image) or text)
    monkeypatch.setattr("vsr_cli.inference.predict.draw_storyboard", lambda rows: Image.new("RGB", (1, 1)))
    write_prediction(predict(model, story(4), resize), tmp_path / "out", run=tmp_path / "run", decoding=Decoding())
    assert [image.size for image in panels] == [shown]
    assert Image.open(tmp_path / "out/image.png").size == shown


def test_frames_before_the_context_may_be_invalid():
    context_story = story(5)
    broken = Frame(image=b"no picture", text=None)
    assert (
        len(
            read_context(
                Story(id="ana", frames=(broken, *context_story.frames[1:])),
                context_frames=4,
                image_size=SIZE,
                resize="stretch",
            )
        )
        == 4
    )


@pytest.mark.parametrize("decoding", [GREEDY, Decoding(method="mbr", samples=3)], ids=Decoding.label)
def test_only_the_last_four_frames_matter(model, decoding):
    last = Story(id="ana", frames=story(7).frames[3:])
    long, short = (predict(model, each, decoding=decoding) for each in (story(7), last))
    assert long.text == short.text
    assert long.image.tobytes() == short.image.tobytes()


def test_fewer_frames_are_filled_up_by_repeating_the_last_pair(model):
    two = story(2)
    by_hand = Story(id="ana", frames=(*two.frames, two.frames[-1], two.frames[-1]))
    filled = predict(model, two)
    assert len(filled.context) == 2
    # The model knows which frames are repeated, so the two need not agree to the last digit; the shapes do.
    assert filled.image.size == predict(model, by_hand).image.size == (SIZE, SIZE)


@pytest.mark.parametrize(
    ("frame", "notes", "part"),
    [
        (Frame(image=None, text="x"), (), "no image"),
        (Frame(image=picture(1), text=None), (), "no text"),
        (Frame(image=picture(1), text=" \n"), (), "no text"),
        (
            Frame(image=picture(1), text=None),
            (EMPTY,),
            "3.txt",
        ),
        (
            Frame(image=picture(1), text=None),
            (Note(code="missing_text", detail="frame 3 has no text", frame=2),),
            "frame 3: has no text;",
        ),
        (Frame(image=b"<html>", text="x"), (), "JPEG, PNG or WebP"),
        (Frame(image=picture(1)[:60], text="x"), (), "frame 3"),
    ],
)
def test_an_invalid_frame_is_one_line_with_a_remedy(frame, notes, part):
    frames = (*story(2).frames, frame, story(1).frames[0])
    with pytest.raises(VsrError) as error:
        read_context(Story(id="ana", frames=frames, notes=notes), context_frames=4, image_size=SIZE, resize="stretch")
    (line,) = str(error.value).splitlines()
    assert "story ana, frame 3" in line
    assert part in line
    assert ";" in line


def test_an_image_file_is_named_by_its_path(tmp_path):
    (tmp_path / "2.jpg").write_bytes(b"\xff\xd8\xff")
    context_story = Story(id="ana", frames=(*story(1).frames, Frame(image=tmp_path / "2.jpg", text="x")))
    with pytest.raises(VsrError, match=r"2\.jpg"):
        read_context(context_story, context_frames=4, image_size=SIZE, resize="stretch")


def test_a_story_without_frames_is_refused():
    with pytest.raises(VsrError, match=r"01\.jpg"):
        read_context(Story(id="ana", frames=()), context_frames=4, image_size=SIZE, resize="stretch")


@pytest.mark.parametrize("frames", [1, 4])
def test_the_text_is_no_longer_than_the_decoder_s_limit(model, frames):
    assert len(predict(model, story(frames)).text.split()) <= LENGTH


def test_equal_stories_produce_equal_files(model, tmp_path):
    for name in ("a", "b"):
        write_prediction(predict(model, story(4)), tmp_path / name, run=tmp_path / "run", decoding=Decoding())
    for name in ("image.png", "storyboard.png"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_the_record_is_what_prediction_json_says(model, tmp_path):
    predicted = predict(model, story(6))
    record = write_prediction(predicted, tmp_path / "out", run=tmp_path / "run", decoding=Decoding())
    assert json.loads((tmp_path / "out/prediction.json").read_text(encoding="utf-8")) == record
    assert list(record) == ["story", "context", "text", "copied", "image", "run", "decoding"]
    assert [frame["frame"] for frame in record["context"]] == [3, 4, 5, 6]
    assert record["image"] == str(tmp_path / "out/image.png")
    assert np.array_equal(Image.open(record["image"]), shown_image(predicted))


def test_a_repeated_text_is_shown_as_it_stands_in_the_story(tmp_path):
    settings = [each for each in SMALL if not each.startswith("text_decoder")]
    layers = [preset_layer("tiny"), *parse_set(["text_decoder.name=repeat-context", *settings])]
    built = build_model(
        resolve_train(registry(), preset="tiny", layers=layers), image_size=SIZE, training_texts=lambda: ["a story"]
    ).eval()
    texts = ["“No,” said Ana — the dogs' friend.", "No said Ana.", "<gdo 1>Rain</gdo> fell…", "“No,” said ANA again!"]
    given = Story(id="ana", frames=tuple(Frame(image=picture(at), text=text) for at, text in enumerate(texts)))
    predicted = predict(built, given)
    record = write_prediction(predicted, tmp_path / "out", run=tmp_path / "run", decoding=Decoding())
    assert record["text"] in texts
    assert record["copied"] == {
        "repeats_context": texts.index(record["text"]) + 1,
        "context-overlap-4": 0.0 if record["text"] == texts[1] else 1.0,
        "image_repeats_context": None,
    }
    assert shown_text(built.text_decoder, "<gdo 1>Rain</gdo> fell…", texts) == "Rain fell…"


def test_a_text_with_typographic_marks_is_found_in_its_context(model):
    texts = ["Come in.", "“Ana’s dog,” said Bo, “isn’t mine.”", "Rain fell.", "He ran."]
    given = Story(id="ana", frames=tuple(Frame(image=picture(at), text=text) for at, text in enumerate(texts)))
    copied = copied_from(replace(predict(model, given), text=texts[1]))
    assert (copied["repeats_context"], copied["context-overlap-4"]) == (2, 1.0)


@pytest.mark.parametrize("keeps", [str, str.lower])
def test_texts_of_tokens_that_lose_case_or_spacing_are_normalized(keeps):
    class Decoder:
        def tokenize(self, texts):
            return TokenBatch(ids=np.zeros((len(texts), 1), np.int64), mask=np.ones((len(texts), 1), np.bool_))

        def detokenize(self, ids):
            return [keeps("It's Ana.")] * len(ids)

    written = "the dogs ' bones, \" don ' t!\""
    expected = written if keeps is str else clean_text(written)
    assert shown_text(Decoder(), written, ["It's Ana."]) == expected


@given(st.lists(st.one_of(st.text(max_size=300), st.sampled_from(["", ".", "..", "../../x", "/etc", "a/b", "~"]))))
def test_every_story_has_its_own_folder_directly_under_out(tmp_path_factory, ids):
    out = tmp_path_factory.getbasetemp() / "out"
    folders = output_folders(ids, out)
    assert len(set(folders)) == len(ids)
    for folder in folders:
        assert folder.parent == out
        assert folder.resolve().parent == out.resolve()
        assert not folder.name.startswith(".")
        assert 0 < len(folder.name.encode("utf-8", "surrogatepass")) <= 255


def test_safe_names_are_unchanged(tmp_path):
    names = [folder.name for folder in output_folders(["story-1", "été 2", "story-1", "a.b", ".."], tmp_path)]
    assert names == ["story-1", "été_2", "story-1_2", "a.b", "story"]


def test_long_names_are_truncated_and_stay_distinct(tmp_path):
    long = ["\u0928\u092e\u0938\u094d\u0924\u0947" * 90 + end for end in ("1", "2")]
    names = [file_name(story) for story in long]
    assert len(set(names)) == 2
    assert all(len(name.encode()) <= LONGEST_NAME for name in names)
    assert names == [file_name(story) for story in long]
    for name in [*names, "x" * 251]:
        with replacing(tmp_path / f"{name}.png") as temporary:
            temporary.write_text("written")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{name}.png" for name in [*names, "x" * 251])


def test_names_keep_letters_and_marks_of_every_script():
    assert file_name("\u0939\u093f\u0928\u094d\u0926\u0940") == "\u0939\u093f\u0928\u094d\u0926\u0940"
    assert file_name("e\u0301t\u00e9") == "\u00e9t\u00e9"
    assert [file_name(name) for name in ("CON", "nul.txt", "a/b\\c", "console")] == [
        "_CON",
        "_nul.txt",
        "a_b_c",
        "console",
    ]


def test_names_that_differ_in_case_alone_do_not_share_a_folder(tmp_path):
    assert [folder.name for folder in output_folders(["A", "a"], tmp_path)] == ["A", "a_2"]


def test_an_invisible_text_counts_as_missing():
    story = Story(id="s", frames=(Frame(image=b"x", text="\u200b\ufeff"),))
    with pytest.raises(VsrError, match="it has no text"):
        read_context(story, context_frames=4, image_size=32, resize="stretch")


def test_notes_on_a_story_stand_beside_its_prediction():
    """Of the story as a whole and of the frames that are read; of very many the first."""
    strays = [Note(code="stray_file", detail=f"{name} is no frame of it") for name in ("README.txt", "cover.jpg")]
    early, late = (Note(code="duplicate_image", detail=f"frame {n}", frame=n - 1) for n in (2, 4))
    assert notes_on(story(6, notes=(*strays, early, late)), 4) == [
        "ana has 6 frames, the last 4 of them are the context",
        "ana: README.txt is no frame of it",
        "ana: cover.jpg is no frame of it",
        "ana: frame 4",
    ]
    assert notes_on(story(6, notes=tuple(strays) * 9), 4)[4:] == ["ana: and 15 more; 'vsr data lint' lists them all"]


def test_a_story_up_to_a_frame_has_neither_later_frames_nor_their_notes():
    early, late, whole = (Note(code="x", detail="", frame=frame) for frame in (1, 3, None))
    short = story_up_to(story(6, notes=(early, late, whole)), 3)
    assert short.frames == story(3).frames
    assert short.notes == (early, whole)


@pytest.mark.parametrize("frame", [0, 7])
def test_a_frame_that_a_story_lacks_is_refused(frame):
    with pytest.raises(VsrError, match=f"ana: has no frame {frame} to go on from; name one from 1 to 6"):
        story_up_to(story(6), frame)
