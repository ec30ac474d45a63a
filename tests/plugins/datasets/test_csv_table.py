"""Stories from CSV tables."""

import csv
import gzip
import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsr_cli.api import Rejected, Story
from vsr_plugins.datasets import CsvOptions
from vsr_plugins.datasets.csv_table import build

from .reading import codes, error_of

HEAD = "story,image,text,order,group,split"


def write(folder: Path, *lines: str, name: str = "table.csv", encoding: str = "utf-8") -> Path:
    """Write a table beside two images, which are not looked at by this plugin."""
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


def rejected(path: Path, **options: object) -> list[tuple[str, str]]:
    found = [story for story in read(path, **options) if isinstance(story, Rejected)]
    assert all("\n" not in story.detail for story in found)
    return [(story.where.removeprefix(f"{path}:"), story.code) for story in found]


def problem(source: Path | None, **options: object) -> str:
    return error_of(build(CsvOptions.model_validate(options)), source)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_rows_of_a_story_may_be_apart(tmp_path: Path, encoding: str) -> None:
    lines = ("story,image,text", 'b,1.jpg,"Ève, first"', "a,1.jpg,x", "b,2.jpg, second ")
    b, a = stories(write(tmp_path, *lines, encoding=encoding))
    assert (b.id, a.id) == ("b", "a")
    assert texts(b) == ["Ève, first", "second"]
    assert [frame.image for frame in b.frames] == [tmp_path / "1.jpg", tmp_path / "2.jpg"]
    assert (b.notes, b.group, b.split) == ((), None, None)


@pytest.mark.parametrize(
    "orders", [["2", "10", "11"], ["-3", "-1", "2"], ["0.5", "1", "1e1"], ["p2", "P10", "p11"], ["3", "3b", "20"]]
)
def test_order_column_sorts_frames(tmp_path: Path, orders: list[str]) -> None:
    rows = [f"a,1.jpg,{order},{order}" for order in orders]
    (story,) = stories(write(tmp_path, "story,image,text,order", *rows[::-1]), order="order")
    assert texts(story) == orders


@given(st.dictionaries(st.text("ab", min_size=1, max_size=2), st.sets(st.integers(0, 10**5), min_size=1, max_size=6)),
       st.randoms(use_true_random=False))  # fmt: skip
def test_row_order_is_ignored_with_an_order_column(plan: dict[str, set[int]], random) -> None:
    rows = [f"{story},1.jpg,{order},{order}" for story, orders in plan.items() for order in orders]
    random.shuffle(rows)
    with tempfile.TemporaryDirectory() as folder:
        found = stories(write(Path(folder), "story,image,text,order", *rows), order="order")
    assert {story.id: texts(story) for story in found} == {s: [str(n) for n in sorted(p)] for s, p in plan.items()}


@given(st.lists(st.tuples(*[st.text(st.characters(exclude_categories=["Cs"]), max_size=8)] * 4)))
def test_any_cells_are_read_without_error(rows: list[tuple[str, ...]]) -> None:
    table = io.StringIO()
    csv.writer(table).writerows([["story", "image", "text", "order"], *rows])
    with tempfile.TemporaryDirectory() as folder:
        found = read(write(Path(folder), table.getvalue()), order="order")
    frames = sum(len(story.frames) for story in found if isinstance(story, Story))
    orderless = {row[0].strip() for row in rows if not row[3].strip()}
    assert frames == sum(bool(row[0].strip()) and row[0].strip() not in orderless for row in rows)


def test_columns_are_named_by_options(tmp_path: Path) -> None:
    path = write(tmp_path, "book;page;words;n", "a;1.jpg;Two, three;2", "a;2.jpg;One;1")
    (story,) = stories(path, story="book", image="page", text="words", order="n")
    assert texts(story) == ["One", "Two, three"]


def test_tsv_is_read(tmp_path: Path) -> None:
    (story,) = stories(write(tmp_path, "story\timage\ttext", "a\t1.jpg\tx, y", name="t.TSV"))
    assert texts(story) == ["x, y"]


def test_groups_and_splits(tmp_path: Path) -> None:
    lines = (HEAD, "a,1.jpg,x,1,g,train", "a,1.jpg,y,2,,", "b,1.jpg,x,1,,dev", "c,1.jpg,x,1,g,train",
             "c,1.jpg,x,2,h,train", "d,1.jpg,x,1,,train", "d,1.jpg,x,2,,test")  # fmt: skip
    path = write(tmp_path, *lines)
    a, b = (story for story in read(path, group="group", split="split") if isinstance(story, Story))
    assert (a.group, a.split, b.group, b.split) == ("g", "train", None, None)
    assert codes(b) == [("unknown_split", None)]
    assert rejected(path, group="group", split="split") == [("5, story c", "two_groups"), ("7, story d", "two_splits")]


def test_defects_are_reported(tmp_path: Path) -> None:
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


def test_frames_without_or_with_equal_order(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD, "a,1.jpg,x,2", "a,1.jpg,y,", "b,1.jpg,x,1", "b,1.jpg,y,1")
    assert rejected(path, order="order") == [("2, story a", "missing_order")]
    (b,) = (story for story in read(path, order="order") if isinstance(story, Story))
    assert (texts(b), codes(b)) == (["x", "y"], [("duplicate_order", None)])


@pytest.mark.parametrize("name", ["../1.jpg", "sub/../1.jpg", "{root}/1.jpg", "link.jpg", "C:\\x.jpg", "a\0b"])
def test_image_outside_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "1.jpg").write_bytes(b"secret")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "link.jpg").symlink_to(tmp_path / "1.jpg")
    (story,) = stories(write(tmp_path / "inner", "story,image,text", f"a,{name.format(root=tmp_path)},x", "a,1.jpg,y"))
    assert [frame.image for frame in story.frames] == [None, tmp_path / "inner" / "1.jpg"]
    assert codes(story) == [("outside_folder", 0)]


def test_missing_column_is_named_with_a_suggestion(tmp_path: Path) -> None:
    path = write(tmp_path, "story_id,image,text,text2,text2", "a,1.jpg,x,y,z")
    assert "no column 'story'; did you mean story_id?" in problem(path)
    assert "known: story_id, image, text" in problem(path, story="story_id", order="zzz")
    assert "two columns" in problem(path, story="story_id", text="text2")
    assert "known: none" in problem(write(tmp_path, ""))


def test_invalid_tables_are_one_line(tmp_path: Path) -> None:
    assert "UTF-8" in problem(write(tmp_path, "story,image,text", "a,1.jpg,Ève", encoding="latin-1"))
    assert "line 2: byte 0xc8 is not UTF-8, which is 'È' in Windows-1252" in problem(tmp_path / "table.csv")
    assert "contains zeros" in problem(write(tmp_path, "story,image,text", "a,1.jpg,x", encoding="utf-16-le"))
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(b"story,image,text\n" * 99)[:-9])
    assert "is truncated" in problem(tmp_path / "cut.csv.gz")
    (tmp_path / "damaged.csv.gz").write_bytes(gzip.compress(b"story,image,text\n")[:12] + b"\xff" * 40)
    assert "damaged" in problem(tmp_path / "damaged.csv.gz")
    assert "one frame per row" in problem(None)
    assert "no such file" in problem(tmp_path / "none.csv")
    assert "is a folder" in problem(tmp_path)


@pytest.mark.parametrize(
    ("head", "row", "name", "encoding"),
    [
        ("story;image;text", "a;1.jpg;x, y", "table.csv", "utf-8"),
        ("story\timage\ttext", "a\t1.jpg\tx, y", "table.csv", "utf-8"),
        ("story|image|text", "a|1.jpg|x, y", "table.csv", "utf-8"),
        ('"story","image","text"', 'a,1.jpg,"x, y"', "table.tsv", "utf-8"),
        ("sep=;\nstory;image;text", "a;1.jpg;x, y", "table.csv", "utf-8"),
        ("SEP=,\r\nstory,image,text\r", 'a,1.jpg,"x, y"\r', "table.csv", "utf-8-sig"),
        ("Story, Image ,TEXT", 'a,1.jpg,"x, y"', "table.csv", "utf-8"),
        ("\n\nstory,image,text\n", '\na,1.jpg,"x, y"\n', "table.csv", "utf-8"),
        ("story,image,text", 'a,1.jpg,"x, y"', "table.csv", "utf-16"),
        ("story,image,text", 'a,.\\1.jpg,"x, y"', "table.csv", "utf-8"),
        ("story,image,text", 'a,./1.jpg,"x, y"', "table.csv", "utf-8"),
    ],
)
def test_other_csv_dialects_are_read(tmp_path: Path, head: str, row: str, name: str, encoding: str) -> None:
    (story,) = stories(write(tmp_path, head, row, name=name, encoding=encoding))
    assert (story.id, texts(story), story.notes) == ("a", ["x, y"], ())
    assert [frame.image for frame in story.frames] == [tmp_path / "1.jpg"]


def test_a_table_may_be_compressed(tmp_path: Path) -> None:
    path = write(tmp_path, "story\timage\ttext", "a\t1.jpg\tx")
    (tmp_path / "t.tsv.gz").write_bytes(gzip.compress(path.read_bytes()))
    (tmp_path / "decompressed.tsv.gz").write_bytes(path.read_bytes())
    for name in ("t.tsv.gz", "decompressed.tsv.gz"):
        assert [texts(story) for story in stories(tmp_path / name)] == [["x"]]


@pytest.mark.parametrize(
    "text", ['"He said "stop" and ran', '"never closed', '"He said "stop"', '""x"', '"a" b', '"one ""two"" three']
)
def test_misquoted_row_is_noted_and_others_are_read(tmp_path: Path, text: str) -> None:
    lines = ['a,1.jpg,"one, ""1"""', f"a,2.jpg,{text}", "a,1.jpg,three", 'b,2.jpg,"four"', "b,1.jpg,five"]
    a, b = stories(write(tmp_path, "story,image,text", *lines))
    assert texts(a) == ['one, "1"', None, "three"]
    assert texts(b) == ["four", "five"]
    assert codes(a) == [("bad_quotes", 1)]
    assert a.notes[0].detail.startswith("line 3: ")
    assert "double each quote in it" in a.notes[0].detail
    assert b.notes == ()


def test_unclosed_quote_does_not_join_rows(tmp_path: Path) -> None:
    lines = ['a,1.jpg,"one', "a,2.jpg,two", 'b,1.jpg,three"', 'b,2.jpg,"four\nof, 2, lines"']
    a, b = stories(write(tmp_path, "story,image,text", *lines))
    assert texts(a) == [None, "two"]
    assert texts(b) == ['three"', "four\nof, 2, lines"]
    assert codes(a) == [("bad_quotes", 0)]


def test_a_misquoted_row_without_a_story_is_rejected(tmp_path: Path) -> None:
    path = write(tmp_path, "text,image,story", '"a,1.jpg,a', "c,1.jpg,a")
    assert rejected(path) == [("2", "bad_quotes")]


def test_base64_and_url_images_are_named(tmp_path: Path) -> None:
    cells = ["data:image/png;base64," + "A" * 200_000, "iVBORw0KGgo" + "A" * 200_000, "http://x.org/1.jpg", "1.JPG"]
    (story,) = stories(write(tmp_path, "story,image,text", *(f'a,"{cell}",x' for cell in cells)))
    assert codes(story) == [("missing_image", index) for index in range(4)]
    parts = [
        "line 2: is an image in base64",
        "base64",
        "line 4: 'http://x.org/1.jpg' is an address",
        "no file",
    ]
    assert [part for part, note in zip(parts, story.notes, strict=True) if part not in note.detail] == []


def test_nan_and_invisible_texts_are_missing(tmp_path: Path) -> None:
    (story,) = stories(write(tmp_path, "story,image,text", "a,1.jpg,nan", "a,1.jpg,\u200b", "a,1.jpg,Nan smiles."))
    assert texts(story) == [None, None, "Nan smiles."]
    assert codes(story) == [("missing_text", 0), ("missing_text", 1)]


def test_story_and_group_names_are_nfc(tmp_path: Path) -> None:
    (story,) = stories(
        write(tmp_path, "story,image,text,group", "\u00e9,1.jpg,x,\u00fc", "e\u0301,2.jpg,y,u\u0308"), group="group"
    )
    assert (story.id, story.group, len(story.frames)) == ("\u00e9", "\u00fc", 2)


def test_all_columns_that_are_missing_are_named(tmp_path: Path) -> None:
    message = problem(write(tmp_path, "story_id,image_path,caption", "a,1.jpg,x"))
    for name in ("story", "image", "text"):
        assert f"--set dataset.{name}=COLUMN" in message
