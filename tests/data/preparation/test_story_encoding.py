"""Markup of annotated stories."""

import pytest

from vsr_cli.api import Entity, Frame, Story
from vsr_cli.data.preparation.story_encoding import marked_up
from vsr_cli.evaluation.normalize import clean_text, marked_text
from vsr_plugins.datasets.story_reasoning.markup import parse_story

from ...plugins.datasets.story_reasoning.rows import record


def entity(kind: str, name: str, start: int, end: int) -> Entity:
    return Entity(kind=kind, ids=(name,), start=start, end=end)


def test_marked_up_text_equals_story_reasoning_rows() -> None:
    made = record(0, 3)
    texts = [frame.text for frame in marked_up(made.story).frames]
    assert "\n\n".join(texts) == made.row["story"]


def test_marked_up_spans_are_parsed_back() -> None:
    text = "Mara's friend opens the two boxes."
    entities = (entity("object", "char2", 0, 13), entity("object", "char1", 0, 4), entity("action", "char2", 14, 19))
    story = Story(id="s", frames=(Frame(image=None, text=text, entities=entities), Frame(image=None, text=None)))
    marked = marked_up(story)
    first = marked.frames[0]
    assert first.text == (
        "<gdi image1>\n<gdo char2><gdo char1>Mara</gdo>'s friend</gdo> <gda char2>opens</gda> the two boxes.\n</gdi>"
    )
    assert [first.text[found.start : found.end] for found in first.entities] == [
        "<gdo char1>Mara</gdo>'s friend",
        "Mara",
        "opens",
    ]
    assert marked.frames[1] == story.frames[1]
    assert parse_story(first.text, 1).frames[0][0] == text


@pytest.mark.parametrize("text", ["<gdi image2>\n<gdo char1>Mara</gdo> waits.\n</gdi>"])
def test_clean_text_has_no_tags_and_marked_text_has(text: str) -> None:
    assert clean_text(text) == "Mara waits."
    assert marked_text(text).startswith("< gdi image2 > < gdo char1 > Mara <")
