"""Markup of annotated stories."""

import pytest

from vsr_cli.api import Entity, Frame, Story
from vsr_cli.data.preparation.story_encoding import marked_up
from vsr_cli.data.scratch import scratch_array
from vsr_cli.evaluation.normalize import clean_text, marked_text
from vsr_plugins.datasets.story_reasoning.markup import parse_story

from ...folders import contents
from ...memory_dataset import noise_png, prepare_in_memory
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


def test_a_long_story_is_decoded_into_a_file_and_stored_alike(tmp_path, monkeypatch) -> None:
    frames = tuple(Frame(image=noise_png(number), text=f"Frame {number}.") for number in range(9))
    story = Story(id="long", frames=(*frames, frames[2]))

    def prepared(name):
        found = prepare_in_memory(tmp_path / name, story, assignments=["data.image_size=16"])
        return found, contents(tmp_path / name)

    within, small = prepared("small")
    made = []
    monkeypatch.setattr(
        "vsr_cli.data.preparation.story_encoding.scratch_array",
        lambda shape, dtype: made.append(shape) or scratch_array(shape, dtype),
    )
    for module in ("story_encoding", "chunks"):
        monkeypatch.setattr(f"vsr_cli.data.preparation.{module}.HELD", 1000)
    beyond, large = prepared("large")
    assert made == [(10, 16, 16, 3)]
    assert within.fingerprint == beyond.fingerprint
    assert small == large
