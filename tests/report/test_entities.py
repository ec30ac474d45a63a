import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vsr_cli.api import Analysis, Character, Entity, Frame, FrameAnalysis, Story
from vsr_cli.report.entities import (
    COLOURS,
    LONGEST,
    PLAIN,
    boxes_of,
    break_caption,
    colour_of,
    colours_of,
    names_of,
    one_line,
    outline,
    place_box,
    styles_of,
)
from vsr_cli.report.story_page import draw_story, frame_image
from vsr_cli.report.storyboard import CAPTION_SIZE, INK, LINE, PANEL_WIDTH, PAPER, load_font

from ..memory_dataset import png, prepare_in_memory

TEXT = "Mara opens their box."


def uniform(colour, size=(60, 20)):
    return png(Image.new("RGB", size, colour))


def person(name, box):
    return Character(
        id=name, name="Mara", description=None, emotions=None, actions=None, narrative_function=None, box=box
    )


def entity(kind, ids, word, text=TEXT):
    start = text.index(word)
    return Entity(kind=kind, ids=ids, start=start, end=start + len(word))


ENTITIES = (
    entity("object", ("char1",), "Mara"),
    entity("action", ("char1",), "opens"),
    entity("object", ("char1", "char2"), "their"),
    entity("landmark", ("lm1",), "box"),
)


def prepared(folder: Path, *, frames=7, resize="stretch", name="a/b", who="char1"):
    listed = [Frame(image=uniform((20 * at, 90, 90)), text=TEXT, entities=ENTITIES) for at in range(frames)]
    listed[2] = Frame(image=None, text="No picture here.")
    listed[3] = Frame(image=uniform("green"), text=None)
    analysed = [FrameAnalysis(characters=(person(who, (30, 0, 60, 20)),)), *[FrameAnalysis()] * (frames - 1)]
    stories = Story(id=name, frames=tuple(listed), analysis=Analysis(frames=tuple(analysed)))
    whole = Story(
        id="whole", frames=tuple(Frame(image=uniform((0, 0, 30 * at)), text=f"Text {at}.") for at in range(5))
    )
    assignments = ["data.image_size=32", f"data.resize={resize}"]
    return prepare_in_memory(folder / "out", stories, whole, assignments=assignments)


def luminance(colour: str) -> float:
    """Relative luminance by WCAG 2."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_colours_are_distinct_and_have_enough_contrast():
    colours = [colour_of(number) for number in range(200)]
    assert len(set(colours)) == len(colours)
    assert min((luminance(PAPER) + 0.05) / (luminance(colour) + 0.05) for colour in colours) >= 4.5
    assert colours[: len(COLOURS)] == list(COLOURS)


def test_ids_have_colours_in_order_of_appearance_and_names(tmp_path):
    story = prepared(tmp_path).story("a/b")
    assert colours_of(story) == {"char1": colour_of(0), "char2": colour_of(1), "lm1": colour_of(2)}
    # A name in the analysis, none where words stand for two, else the text's own words.
    assert names_of(story) == {"char1": "Mara", "lm1": "box"}
    assert list(boxes_of(story, 0)) == [("char1", (30, 0, 60, 20))]
    assert list(boxes_of(story, 1)) == list(boxes_of(story, 99)) == []


def test_each_kind_of_mention_has_its_style_and_colour(tmp_path):
    story = prepared(tmp_path).story("a/b")
    colours = colours_of(story)
    styles = dict(zip(range(len(TEXT)), styles_of(story.frames[0], colours), strict=True))
    assert styles[0].colour == styles[3].colour == colours["char1"]
    assert styles[0].font == "-Bold"
    assert styles[TEXT.index("opens")].underlined
    assert styles[TEXT.index("box")].font == "-Oblique"
    assert styles[4] == styles[len(TEXT) - 1] == PLAIN
    their = [styles[TEXT.index("their") + at].colour for at in range(5)]
    assert their == [colours["char1"]] * 2 + [colours["char2"]] * 3


def test_the_inner_of_nested_entities_wins(tmp_path):
    frame = prepared(tmp_path).story("a/b").frames[0]
    colours = {"out": "#000001", "in": "#000002"}
    inner, outer = entity("object", ("in",), "opens"), entity("object", ("out",), "Mara opens their")
    nested = type(frame)(0, TEXT, 0, 0, (outer, inner), None)
    written = [style.colour for style in styles_of(nested, colours)]
    assert written[:5] == ["#000001"] * 5
    assert written[5:10] == ["#000002"] * 5
    assert written[10:16] == ["#000001"] * 6


@pytest.mark.parametrize(
    ("resize", "box", "expected"),
    [
        ("stretch", (30, 0, 60, 20), (150, 0, 300, 100)),
        ("letterbox", (0, 5, 6, 10), (0, 25, 30, 50)),
        # Of 60 x 20 the middle is shown, from 20 to 40.
        ("crop", (10, 0, 30, 20), (0, 0, 50, 100)),
        ("crop", (0, 0, 20, 20), None),
    ],
)
def test_a_box_follows_the_resizing(resize, box, expected):
    shown = (100, 100) if resize == "crop" else (300, 100)
    assert place_box(box, (60, 20), resize=resize, shown=shown) == expected


def test_a_box_and_its_label_are_drawn_inside_the_image():
    picture = Image.new("RGB", (100, 80), "white")
    outlined = outline(picture, [("char12", (70, 40, 98, 70))], {"char12": "#1565c0"})
    marked = np.argwhere((np.asarray(outlined) == (0x15, 0x65, 0xC0)).all(axis=-1))
    assert marked.min(axis=0).tolist() >= [20, 30]
    assert marked.max(axis=0).tolist() == [69, 99]  # the label is wider than the box, and moved to stay inside
    assert outlined.getpixel((84, 55)) == (255, 255, 255)
    assert picture.getcolors() == [(8000, (255, 255, 255))]


@pytest.mark.parametrize(
    "text", ["One two three. " * 12, "x" * 500, "a " + "y" * 300 + " b", "  spaces \n\n and\tlines  ", ""]
)
def test_captions_fit_the_width_and_lose_no_letter(text):
    caption = break_caption(text, [PLAIN] * len(text), width=PANEL_WIDTH)
    lines = [text[start:end] for start, end in caption.lines]
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(load_font(CAPTION_SIZE).getlength(one_line(line)) <= PANEL_WIDTH for line in lines)
    assert caption.height == LINE * len(lines)


def test_a_very_long_text_is_truncated():
    caption = break_caption("z" * 100_000, [PLAIN] * 100_000, width=PANEL_WIDTH)
    assert len(caption.text) == LONGEST + 2
    assert caption.text.endswith("…")


def test_a_caption_is_drawn_in_its_colours(tmp_path):
    story = prepared(tmp_path).story("a/b")
    colours = colours_of(story)
    board = Image.new("RGB", (PANEL_WIDTH, 60), PAPER)
    break_caption(TEXT, styles_of(story.frames[0], colours), width=PANEL_WIDTH).draw(board, 0, 0)
    pixels = {f"#{r:02x}{g:02x}{b:02x}" for _, (r, g, b) in board.getcolors(60 * PANEL_WIDTH)}
    assert {INK, *colours.values()} <= pixels


@pytest.mark.parametrize("resize", ["stretch", "letterbox", "crop"])
def test_a_story_image_shows_every_frame_and_what_is_missing(tmp_path, resize):
    found = prepared(tmp_path, resize=resize)
    story = found.story("a/b")
    page = draw_story(found, story)
    assert page.width > 5 * PANEL_WIDTH
    assert page.height > draw_story(found, found.story("whole")).height
    assert frame_image(found, story.frames[2]) is None
    picture = frame_image(found, story.frames[0])
    assert picture is not None
    assert picture.width / picture.height == pytest.approx(1 if resize == "crop" else 3, rel=0.1)
    assert draw_story(found, story).tobytes() == page.tobytes()
    json.dumps(story.analysis)


def test_multi_line_names_are_drawn_on_one_line(tmp_path):
    found = prepared(tmp_path, name="a\nstory", who="some\nbody")
    assert draw_story(found, found.story("a\nstory")).width > 5 * PANEL_WIDTH
