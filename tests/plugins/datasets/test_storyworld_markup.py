import re
from pathlib import Path

import pytest

from vsr_plugins.datasets.storyworld.drawing import Illustrator

from .story_reasoning_rows import DEFECTS, Record, record, records, write_parquet

DRAWN = Illustrator(width=480, height=208)
SEGMENT = r"<gd[if] image(\d+)>\n(.*?)(?:\n</gdi>|$)"


def get(index: int, *defects: str) -> Record:
    return record(7, index, defects=defects, illustrator=DRAWN)


def segments(item: Record) -> list[tuple[int, str]]:
    return [(int(n), body) for n, body in re.findall(SEGMENT, item.row["story"], flags=re.DOTALL)]


def stripped(body: str) -> str:
    return re.sub(r"</?gd[^>]*>", "", body)


def boxes(item: Record) -> list[tuple[int, ...]]:
    cells = re.findall(r"(-?\d+),(-?\d+),(-?\d+),(-?\d+) \|", item.row["chain_of_thought"])
    return [tuple(map(int, cell)) for cell in cells]


def rows(item: Record) -> list[str]:
    return [line for line in item.row["chain_of_thought"].splitlines() if line.startswith("| char")]


@pytest.mark.parametrize("index", range(4))
def test_a_clean_row_says_what_the_story_says(index: int) -> None:
    item = get(index)
    assert item.defects == ()
    assert [(n, stripped(body)) for n, body in segments(item)] == [
        (n, frame.text) for n, frame in enumerate(item.story.frames, 1)
    ]
    assert item.row["images"] == [frame.image for frame in item.story.frames]
    assert item.row["frame_count"] == len(item.story.frames)
    kinds = {"gdo": "object", "gda": "action", "gdl": "landmark"}
    for (_, body), frame in zip(segments(item), item.story.frames, strict=True):
        found = re.findall(r"<(gd[oal]) (\w+)>(.*?)</\1>", body)
        assert [(kinds[tag], (i,), words) for tag, i, words in found] == [
            (entity.kind, entity.ids, frame.text[entity.start : entity.end]) for entity in frame.entities if frame.text
        ]
    tables = item.row["chain_of_thought"]
    assert tables.count("## Image") == len(item.story.frames)
    assert tables.index("## Narrative Structure") > tables.index("### Setting")
    assert all(row.count("|") == 8 for row in rows(item))
    for x1, y1, x2, y2 in boxes(item):
        assert 0 <= x1 < x2 <= 480
        assert 0 <= y1 < y2 <= 208


def test_a_mismatched_close_is_one_action_closed_by_gdo() -> None:
    item = get(0, "mismatched_close")
    assert item.row["story"].count("<gda") == item.row["story"].count("</gda>") + 1
    frame = item.frames["mismatched_close"]
    assert re.search(r"<gda \w+>[^<]*</gdo>", segments(item)[frame][1])


def test_an_unknown_id_is_in_no_table() -> None:
    item = get(0, "unknown_id")
    assert "<gdo char99>" in segments(item)[item.frames["unknown_id"]][1]
    assert "char99" not in item.row["chain_of_thought"]


def test_old_boxes_stand_in_object_tags() -> None:
    item = get(0, "old_boxes")
    found = re.findall(r'<gdo \w+ bb="(-?\d+,-?\d+,-?\d+,-?\d+)">', item.row["story"])
    assert found
    assert all(box in item.row["chain_of_thought"] for box in found)


@pytest.mark.parametrize("index", range(5))
def test_a_repeated_number_parts_a_text_that_joins_again(index: int) -> None:
    item = get(index, "repeated_number")
    frame = item.frames["repeated_number"]
    parts = [stripped(body) for n, body in segments(item) if n == frame + 1]
    assert len(parts) == 2
    assert " ".join(parts) == item.story.frames[frame].text


def test_a_missing_number_leaves_its_frame_without_a_segment() -> None:
    item = get(1, "missing_number")
    numbers = [n for n, _ in segments(item)]
    assert set(range(1, len(item.story.frames) + 1)) - set(numbers) == {item.frames["missing_number"] + 1}


def test_gdf_opens_one_segment() -> None:
    item = get(2, "gdf_tag")
    assert re.findall(r"<gdf image(\d+)>", item.row["story"]) == [str(item.frames["gdf_tag"] + 1)]


def test_an_unclosed_segment_is_the_last_one() -> None:
    item = get(2, "unclosed_segment")
    assert not item.row["story"].endswith("</gdi>")
    assert item.row["story"].count("</gdi>") == len(item.story.frames) - 1


def test_stray_text_stands_before_the_first_segment() -> None:
    assert not get(2, "stray_text").row["story"].startswith("<")


def test_a_frame_count_can_be_wrong() -> None:
    item = get(2, "frame_count_mismatch")
    assert item.row["frame_count"] != len(item.row["images"])


def test_tables_can_be_absent() -> None:
    item = get(2, "tables_absent")
    assert "|" not in item.row["chain_of_thought"]
    assert "## Image 1" in item.row["chain_of_thought"]


def test_a_bare_bar_shifts_a_row() -> None:
    assert max(row.count("|") for row in rows(get(2, "pipe_in_cell"))) == 9


def test_a_box_can_leave_the_picture_by_no_more_than_a_tenth() -> None:
    lefts = [x1 for x1, _, _, _ in boxes(get(2, "box_out_of_range"))]
    assert -48 <= min(lefts) < 0


def test_all_defects_together_and_unknown_ones() -> None:
    item = get(3, *DEFECTS)
    assert item.defects == DEFECTS
    assert item.row["story"] == get(3, *reversed(DEFECTS)).row["story"]
    with pytest.raises(AssertionError, match="typo"):
        get(3, "typo")


def test_records_carry_defects_by_their_chance() -> None:
    assert [item.defects for item in records(2)] == [(), ()]
    assert {item.defects for item in records(2, defects={"gdf_tag": 1.0})} == {("gdf_tag",)}
    assert 0 < sum(len(item.defects) for item in records(6, seed=1, defects={"gdf_tag": 0.5})) < 6
    assert next(records(1, seed=4)) == next(records(9, seed=4)) == record(4, 0)


def test_parquet_is_read_back_by_datasets(tmp_path: Path) -> None:
    import datasets

    write_parquet(tmp_path / "hub", 4, seed=2, defects={"old_boxes": 1.0})
    loaded = datasets.load_dataset(str(tmp_path / "hub"), cache_dir=str(tmp_path / "cache"))
    assert {split: len(loaded[split]) for split in loaded} == {"train": 3, "test": 1}
    truth = list(records(4, seed=2, defects={"old_boxes": 1.0}))
    for item, row in zip(truth, [*loaded["train"], *loaded["test"]], strict=True):
        assert row["story"] == item.row["story"]
        assert [image.size for image in row["images"]] == [(480, 208)] * len(item.story.frames)
