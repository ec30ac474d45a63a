"""Sixty stories with every defect of StoryReasoning: each is repaired or reported."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from vsr_cli.api import Character, FrameAnalysis, Story
from vsr_plugins.datasets import StoryReasoningOptions
from vsr_plugins.datasets.story_reasoning.reader import build, image_size
from vsr_plugins.datasets.storyworld.drawing import Illustrator

from .rows import DEFECTS, Record, record, write_rows

CLEAN, ALONE, TOGETHER = 6, 4, 6
"""How many stories have no defect, have each of the defects alone, and have all of them."""

Pair = tuple[Record, Story]


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], list[Pair]]:
    """The records and what the reader makes of their rows, by the defects in them."""
    chosen: list[tuple[str, ...]] = [*[()] * CLEAN, *[(name,) for name in DEFECTS] * ALONE, *[DEFECTS] * TOGETHER]
    illustrator = Illustrator(width=96, height=48)
    items = [record(11, index, defects=names, illustrator=illustrator) for index, names in enumerate(chosen)]
    folder = tmp_path_factory.mktemp("hub")
    write_rows(folder / "data" / "train-00000-of-00001.parquet", [item.row for item in items[:-10]])
    write_rows(folder / "data" / "test-00000-of-00001.parquet", [item.row for item in items[-10:]])
    stories = list(build(StoryReasoningOptions()).read(str(folder)))
    assert len(stories) == len(items) >= 60
    found: dict[tuple[str, ...], list[Pair]] = {}
    for item, story in zip(items, stories, strict=True):
        assert isinstance(story, Story)
        found.setdefault(item.defects, []).append((item, story))
    return found


def codes(story: Story) -> Counter[tuple[str, int | None]]:
    return Counter((note.code, note.frame) for note in story.notes)


def expected(item: Record, defect: str) -> Counter[tuple[str, int | None]]:
    """The notes that one defect must leave."""
    frame = item.frames.get(defect)
    if defect == "old_boxes":
        tags = item.row["story"].split("</gd")
        at, found = -1, Counter[tuple[str, int | None]]()
        for tag in tags:
            at += "<gdi image" in tag
            found["old_form", at] += " bb=" in tag
        return +found
    code, where = {
        "mismatched_close": ("mismatched_close", frame),
        "unknown_id": ("unknown_id", frame),
        "repeated_number": ("duplicate_segment", frame),
        "missing_number": ("missing_segment", frame),
        "gdf_tag": ("mismatched_close", frame),  # <gdf> is closed by </gdi>
        "unclosed_segment": ("unclosed_segment", len(item.story.frames) - 1),
        "stray_text": ("text_outside_segment", None),
        "tables_absent": ("missing_tables", None),
        "pipe_in_cell": ("shifted_row", 0),
        "box_out_of_range": ("box_out_of_range", 0),
        "frame_count_mismatch": ("frame_count_mismatch", None),
    }[defect]
    return Counter([(code, where)])


def without(item: Record, story: Story, defect: str) -> Story:
    """The truth, less what the defect makes unknowable."""
    length = len(item.row["story"])
    truth = replace(item.story, split=story.split, notes=story.notes, source_characters=length)
    assert truth.analysis
    frames, analysed = list(truth.frames), list(truth.analysis.frames)
    first = analysed[0].characters[0]
    if defect == "missing_number":
        at = item.frames[defect]
        frames[at] = replace(frames[at], text=None, entities=())
    elif defect == "unknown_id":
        at = item.frames[defect]
        number = next(n for n, entity in enumerate(frames[at].entities) if entity.kind == "object")
        entities = [
            replace(entity, ids=("char99",)) if n == number else entity for n, entity in enumerate(frames[at].entities)
        ]
        frames[at] = replace(frames[at], entities=tuple(entities))
    elif defect == "tables_absent":
        return replace(truth, analysis=replace(truth.analysis, frames=(FrameAnalysis(),) * len(frames), phases=()))
    elif defect == "pipe_in_cell":
        unknown = dict.fromkeys(("name", "description", "emotions", "actions", "narrative_function"))
        analysed[0] = with_first(analysed[0], Character(id=first.id, box=first.box, **unknown))
    elif defect == "box_out_of_range":
        assert first.box
        analysed[0] = with_first(analysed[0], replace(first, box=(0, *first.box[1:])))
    return replace(truth, frames=tuple(frames), analysis=replace(truth.analysis, frames=tuple(analysed)))


def with_first(frame: FrameAnalysis, character: Character) -> FrameAnalysis:
    return replace(frame, characters=(character, *frame.characters[1:]))


def test_row_without_defects_is_read_exactly(pairs: dict[tuple[str, ...], list[Pair]]) -> None:
    assert len(pairs[()]) == CLEAN
    for item, story in pairs[()]:
        truth = replace(item.story, split=story.split, source_characters=len(item.row["story"]))
        assert story == truth
    assert {story.split for stories in pairs.values() for _, story in stories} == {"train", "test"}


@pytest.mark.parametrize("defect", DEFECTS)
def test_each_defect_is_reported_once(pairs: dict[tuple[str, ...], list[Pair]], defect: str) -> None:
    assert len(pairs[defect,]) == ALONE
    for item, story in pairs[defect,]:
        assert codes(story) == expected(item, defect)
        assert story == without(item, story, defect)


def test_all_defects_together_are_reported(
    pairs: dict[tuple[str, ...], list[Pair]],
) -> None:
    # Without tables there is neither a cell to shift, nor a box, nor an id to miss; a <gdf> without a closer has
    # nothing to mismatch; and a segment in two halves upsets the count of boxes.
    hidden = {"pipe_in_cell", "box_out_of_range", "unknown_id", "gdf_tag", "old_boxes"}
    for item, story in pairs[DEFECTS]:
        texts = [frame.text for frame in item.story.frames]
        texts[item.frames["missing_number"]] = None
        assert [frame.text for frame in story.frames] == texts
        assert [frame.image for frame in story.frames] == [frame.image for frame in item.story.frames]
        for defect in set(DEFECTS) - hidden:
            assert expected(item, defect) <= codes(story), defect


def test_image_size_is_read_from_the_header(pairs: dict[tuple[str, ...], list[Pair]]) -> None:
    image = pairs[()][0][1].frames[0].image
    assert isinstance(image, bytes)
    # A JPEG cut long before its end still says how large it is; what is no image says nothing.
    assert image_size(image) == image_size(image[:700]) == (96, 48)
    assert image_size(b"not an image") is None
    assert image_size(b"") is None


def test_rows_equal_those_of_the_datasets_library(tmp_path: Path) -> None:
    import datasets

    items = [record(11, index, illustrator=Illustrator(width=64, height=32)) for index in range(2)]
    write_rows(tmp_path / "hub" / "data" / "train-00000-of-00001.parquet", [items[0].row])
    write_rows(tmp_path / "hub" / "data" / "test-00000-of-00001.parquet", [items[1].row])
    loaded = datasets.load_dataset(str(tmp_path / "hub"), cache_dir=str(tmp_path / "cache"))
    stories = [
        story for story in build(StoryReasoningOptions()).read(str(tmp_path / "hub")) if isinstance(story, Story)
    ]
    theirs = [(row["story_id"], split, len(row["images"])) for split in loaded for row in loaded[split]]
    assert [(story.id, story.split, len(story.frames)) for story in stories] == theirs
