"""Stories from a table: rows that find their story and place, and what is said of those that do not."""

import csv
import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vsr_cli.api import Rejected, Story, VsrError
from vsr_plugins.csv_table import CsvOptions, vsr_datasets
from vsr_plugins.csv_table.reader import build

HEAD = "story,image,text,order,group,split"


def write(folder: Path, *lines: str, name: str = "table.csv", encoding: str = "utf-8") -> Path:
    """Write a table beside two pictures, which are not looked at by this plugin."""
    for picture in ("1.jpg", "2.jpg"):
        (folder / picture).write_bytes(b"picture")
    (folder / name).write_bytes("\n".join(lines).encode(encoding))
    return folder / name


def read(path: Path, **options: object) -> list[Story | Rejected]:
    return list(build(CsvOptions.model_validate(options)).read(str(path)))


def stories(path: Path, **options: object) -> list[Story]:
    found = [story for story in read(path, **options) if isinstance(story, Story)]
    assert len(found) == len(read(path, **options))
    return found


def texts(story: Story) -> list[str | None]:
    return [frame.text for frame in story.frames]


def codes(story: Story) -> list[tuple[str, int | None]]:
    return [(note.code, note.frame) for note in story.notes]


def rejected(path: Path, **options: object) -> list[tuple[str, str]]:
    found = [story for story in read(path, **options) if isinstance(story, Rejected)]
    assert all("\n" not in story.detail for story in found)
    return [(story.where.removeprefix(f"{path}:"), story.code) for story in found]


def problem(source: Path | None, **options: object) -> str:
    with pytest.raises(VsrError) as caught:
        build(CsvOptions.model_validate(options)).read(None if source is None else str(source))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_declares_one_dataset() -> None:
    (component,) = vsr_datasets()
    assert (component.name, component.options) == ("csv", CsvOptions)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_rows_of_a_story_need_not_be_neighbours(tmp_path: Path, encoding: str) -> None:
    lines = ("story,image,text", 'b,1.jpg,"Ève, first"', "a,1.jpg,x", "b,2.jpg, second ")
    b, a = stories(write(tmp_path, *lines, encoding=encoding))
    assert (b.id, a.id) == ("b", "a")
    assert texts(b) == ["Ève, first", "second"]
    assert [frame.image for frame in b.frames] == [tmp_path / "1.jpg", tmp_path / "2.jpg"]
    assert (b.notes, b.group, b.split) == ((), None, None)


@pytest.mark.parametrize(
    "places", [["2", "10", "11"], ["-3", "-1", "2"], ["0.5", "1", "1e1"], ["p2", "P10", "p11"], ["3", "3b", "20"]]
)
def test_order_counts(tmp_path: Path, places: list[str]) -> None:
    rows = [f"a,1.jpg,{place},{place}" for place in places]
    (story,) = stories(write(tmp_path, "story,image,text,order", *rows[::-1]), order="order")
    assert texts(story) == places


@given(st.dictionaries(st.text("ab", min_size=1, max_size=2), st.sets(st.integers(0, 10**5), min_size=1, max_size=6)),
       st.randoms(use_true_random=False))  # fmt: skip
def test_the_rows_order_does_not_matter_where_a_column_orders(plan: dict[str, set[int]], random) -> None:
    rows = [f"{story},1.jpg,{place},{place}" for story, places in plan.items() for place in places]
    random.shuffle(rows)
    with tempfile.TemporaryDirectory() as folder:
        found = stories(write(Path(folder), "story,image,text,order", *rows), order="order")
    assert {story.id: texts(story) for story in found} == {s: [str(n) for n in sorted(p)] for s, p in plan.items()}


@given(st.lists(st.tuples(*[st.text(st.characters(exclude_categories=["Cs"]), max_size=8)] * 4)))
def test_any_cells_make_stories(rows: list[tuple[str, ...]]) -> None:
    table = io.StringIO()
    csv.writer(table).writerows([["story", "image", "text", "order"], *rows])
    with tempfile.TemporaryDirectory() as folder:
        found = read(write(Path(folder), table.getvalue()), order="order")
    frames = sum(len(story.frames) for story in found if isinstance(story, Story))
    orderless = {row[0].strip() for row in rows if not row[3].strip()}
    assert frames == sum(bool(row[0].strip()) and row[0].strip() not in orderless for row in rows)


def test_columns_are_named_by_options(tmp_path: Path) -> None:
    path = write(tmp_path, "book;page;words;n", "a;1.jpg;Two, three;2", "a;2.jpg;One;1")
    (story,) = stories(path, story="book", image="page", text="words", order="n", delimiter=";")
    assert texts(story) == ["One", "Two, three"]


def test_a_tsv_is_parted_by_tabs(tmp_path: Path) -> None:
    (story,) = stories(write(tmp_path, "story\timage\ttext", "a\t1.jpg\tx, y", name="t.TSV"))
    assert texts(story) == ["x, y"]


@pytest.mark.parametrize("delimiter", ["", ",,", '"', "\n"])
def test_what_cannot_part_cells_is_no_option(delimiter: str) -> None:
    with pytest.raises(ValidationError):
        CsvOptions(delimiter=delimiter)


def test_groups_and_splits(tmp_path: Path) -> None:
    lines = (HEAD, "a,1.jpg,x,1,g,train", "a,1.jpg,y,2,,", "b,1.jpg,x,1,,dev", "c,1.jpg,x,1,g,train",
             "c,1.jpg,x,2,h,train", "d,1.jpg,x,1,,train", "d,1.jpg,x,2,,test")  # fmt: skip
    path = write(tmp_path, *lines)
    a, b = (story for story in read(path, group="group", split="split") if isinstance(story, Story))
    assert (a.group, a.split, b.group, b.split) == ("g", "train", None, None)
    assert codes(b) == [("unknown_split", None)]
    assert rejected(path, group="group", split="split") == [("5, story c", "two_groups"), ("7, story d", "two_splits")]


def test_defects_are_reported_and_nothing_is_made_up(tmp_path: Path) -> None:
    lines = ("story,image,text", "a,1.jpg,", "a,,x", "a,3.jpg,x", "a,1.jpg,one, two", "a", ",1.jpg,x")
    path = write(tmp_path, *lines)
    (story,) = (story for story in read(path) if isinstance(story, Story))
    assert codes(story) == [
        ("missing_text", 0), ("missing_image", 1), ("missing_image", 2), ("extra_cells", 3), ("missing_text", 4),
        ("missing_image", 4),
    ]  # fmt: skip
    assert [(frame.image is None, frame.text) for frame in story.frames] == [
        (False, None), (True, "x"), (True, "x"), (True, None), (True, None),
    ]  # fmt: skip
    assert rejected(path) == [("7", "missing_story")]


def test_frames_without_a_place(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD, "a,1.jpg,x,2", "a,1.jpg,y,", "b,1.jpg,x,1", "b,1.jpg,y,1")
    assert rejected(path, order="order") == [("2, story a", "missing_order")]
    (b,) = (story for story in read(path, order="order") if isinstance(story, Story))
    assert (texts(b), codes(b)) == (["x", "y"], [("duplicate_order", None)])


@pytest.mark.parametrize("name", ["../1.jpg", "sub/../1.jpg", "{root}/1.jpg", "link.jpg", "C:\\x.jpg", "a\0b"])
def test_no_picture_elsewhere_is_taken(tmp_path: Path, name: str) -> None:
    (tmp_path / "1.jpg").write_bytes(b"secret")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "link.jpg").symlink_to(tmp_path / "1.jpg")
    (story,) = stories(write(tmp_path / "inner", "story,image,text", f"a,{name.format(root=tmp_path)},x", "a,1.jpg,y"))
    assert [frame.image for frame in story.frames] == [None, tmp_path / "inner" / "1.jpg"]
    assert codes(story) == [("outside_folder", 0)]


def test_a_column_that_is_not_there_is_named_with_the_nearest(tmp_path: Path) -> None:
    path = write(tmp_path, "story_id,image,text,text2,text2", "a,1.jpg,x,y,z")
    assert "no column 'story'; did you mean story_id?" in problem(path)
    assert "known: story_id, image, text" in problem(path, story="story_id", order="zzz")
    assert "two columns" in problem(path, story="story_id", text="text2")
    assert "known: none" in problem(write(tmp_path, ""))


def test_files_that_are_no_table(tmp_path: Path) -> None:
    assert "UTF-8" in problem(write(tmp_path, "story,image,text", "a,1.jpg,Ève", encoding="latin-1"))
    assert "quotes" in problem(write(tmp_path, "story,image,text", 'a,1.jpg,"x" y'))
    assert "one frame a row" in problem(None)
    assert "no such file" in problem(tmp_path / "none.csv")
    assert "is a folder" in problem(tmp_path)


def test_describe_names_the_file(tmp_path: Path) -> None:
    assert build(CsvOptions()).describe(str(write(tmp_path, HEAD))) == {"source": "table.csv"}
