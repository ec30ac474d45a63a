"""Datasets of the Hub: layouts, images and errors."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, Features, List, Value
from datasets import Image as ImageFeature
from datasets.packaged_modules.parquet.parquet import Parquet
from PIL import Image

from vsr_cli.api import Rejected, Story, Survey, VsrError
from vsr_plugins.datasets import HubOptions, hf, hf_files
from vsr_plugins.datasets.hf import build

from .reading import codes

LISTS = Features(id=Value("string"), images=List(ImageFeature()), texts=List(Value("string")), other=Value("int32"))
ROWS = {"layout": "frames", "images": "image", "texts": "text", "story": "story"}


def still(seed: int) -> bytes:
    Image.fromarray(np.full((8, 12, 3), seed, np.uint8)).save(file := io.BytesIO(), "JPEG")
    return file.getvalue()


def stories_file(path: Path, *stories: tuple[str | None, list[bytes | None] | None, list[str | None] | None]) -> Path:
    """Write a parquet file with a story a row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ids, images, texts = zip(*stories, strict=True)
    cells = [held and [{"bytes": picture, "path": None} for picture in held] for held in images]
    columns = {"id": ids, "images": cells, "texts": texts, "other": [1] * len(ids)}
    Dataset.from_dict(columns, features=LISTS).to_parquet(str(path))
    return path


def frames_file(path: Path, *rows: tuple[object, ...], names: str = "story image text") -> Path:
    """Write a parquet file with a frame a row, images as plain bytes or paths."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(dict(zip(names.split(), map(list, zip(*rows, strict=True)), strict=True))), path)
    return path


def read(source: Path | str, **options: object) -> list[Story | Rejected]:
    return list(build(HubOptions.model_validate(options)).read(str(source)))


def only(stories: list[Story | Rejected]) -> list[Story]:
    return [story for story in stories if isinstance(story, Story)]


def texts(story: Story) -> list[str | None]:
    return [frame.text for frame in story.frames]


def rejected(stories: list[Story | Rejected]) -> list[tuple[str, str]]:
    return [(story.where, story.code) for story in stories if isinstance(story, Rejected)]


def problem(source: Path | str | None, **options: object) -> str:
    with pytest.raises(VsrError) as caught:
        list(build(HubOptions.model_validate(options)).read(None if source is None else str(source)))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_row_of_lists_is_a_story(tmp_path: Path) -> None:
    stories_file(tmp_path / "data" / "test-00000-of-00001.parquet", ("z", [still(0)], ["Z"]))
    stories_file(tmp_path / "data" / "train-00000-of-00001.parquet",
                 ("a", [still(1), still(2)], [" A\r\n", "B"]), ("b", [still(3)], ["C"]))  # fmt: skip
    stories_file(tmp_path / "data" / "extra-00000-of-00001.parquet", ("e", [still(4)], ["E"]))
    stories = only(read(tmp_path, story="id"))
    assert [(story.id, story.split) for story in stories] == [
        ("a", "train"), ("b", "train"), ("z", "test"), ("e", None),
    ]  # fmt: skip
    assert texts(stories[0]) == ["A", "B"]
    # The very bytes of the file: nothing has decoded and encoded them again.
    assert [frame.image for frame in stories[0].frames] == [still(1), still(2)]
    assert not any(story.notes for story in stories)
    assert [story.id for story in only(read(tmp_path))] == ["train/0", "train/1", "test/0", "extra/0"]


def test_one_file_or_one_train_split_is_no_split(tmp_path: Path) -> None:
    path = stories_file(tmp_path / "a [1]" / "train.parquet", ("a", [still(0)], ["A"]))
    assert [story.split for story in only(read(path))] == [None]
    path = path.rename(tmp_path / "train.parquet")
    assert [story.split for story in only(read(tmp_path))] == [None]
    path.rename(tmp_path / "test.parquet")
    assert [story.split for story in only(read(tmp_path))] == ["test"]


def test_defects_of_lists(tmp_path: Path) -> None:
    path = stories_file(
        tmp_path / "s.parquet", ("short", [still(0), None], ["A", " ", "C"]), ("none", None, None),
        ("", [still(0)], ["A"]), ("blind", None, ["A"]), ("junk", [b"no picture"], ["A"]),
    )  # fmt: skip
    stories = read(path, story="id")
    short, blind, junk = only(stories)
    assert codes(short) == [
        ("length_mismatch", None), ("missing_text", 1), ("missing_image", 1), ("missing_image", 2),
    ]  # fmt: skip
    assert codes(blind) == [("length_mismatch", None), ("missing_image", 0)]
    assert codes(junk) == []  # vsr looks at images itself
    assert rejected(stories) == [("train row 1", "no_frames"), ("train row 2", "missing_story_id")]
    assert rejected(read(path, texts="id")) == [(f"train row {row}", "not_lists") for row in range(5)]


def test_rows_of_frames_make_stories(tmp_path: Path) -> None:
    rows = [("a", still(position), f"A{position}", position, "g") for position in (10, 9, 2)]
    rows += [("b", still(1), "B", 1, None)]
    path = frames_file(tmp_path / "s.parquet", *rows, names="story image text n album")
    a, b = only(read(path, **ROWS, order="n", group="album"))
    assert (texts(a), a.group, a.notes) == (["A2", "A9", "A10"], "g", ())
    assert [frame.image for frame in a.frames] == [still(2), still(9), still(10)]
    assert (b.id, texts(b), b.group) == ("b", ["B"], None)
    assert texts(only(read(path, **ROWS))[0]) == ["A10", "A9", "A2"]


def test_defects_of_frames(tmp_path: Path) -> None:
    names = "story image text n album"
    path = frames_file(
        tmp_path / "s.parquet", ("a", b"x", "A", "p10", "g"), ("a", b"x", "B", "p2", "g"), ("a", b"x", "C", "p2", "g"),
        ("b", b"x", "A", "1", "g"), ("b", b"x", "B", "2", "h"), ("c", b"x", "A", " ", "g"), (None, b"x", "A", "1", "g"),
        ("", b"x", "A", "1", "g"), ("a", b"x", "D", "1", "g"), ("d", None, None, "1", "g"), names=names,
    )  # fmt: skip
    stories = read(path, **ROWS, order="n", group="album")
    a, d = only(stories)
    assert (texts(a), codes(a)) == (["B", "C", "A"], [("duplicate_order", None)])
    assert sorted(codes(d)) == [("missing_image", 0), ("missing_text", 0)]
    assert rejected(stories) == [
        ("train story b", "two_groups"), ("train story c", "missing_order"),
        ("train after story 3", "missing_story_id"), ("train story a", "scattered_story"),
    ]  # fmt: skip


def test_invalid_story_column_is_refused_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hf, "MAX_FRAMES", 3)
    rows = [("same", b"x", str(position)) for position in range(4)]
    assert "over 3 rows" in problem(frames_file(tmp_path / "s.parquet", *rows), **ROWS)
    assert len(only(read(frames_file(tmp_path / "s.parquet", *rows[:3]), **ROWS))) == 1


def test_parquet_is_read_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    spy = lambda _, table: sizes.append((table.num_rows, table.column_names)) or table  # noqa: E731
    monkeypatch.setattr(hf_files, "ROWS_AT_ONCE", 2)
    monkeypatch.setattr(Parquet, "_cast_table", spy)
    path = stories_file(tmp_path / "s.parquet", *[(str(n), [still(n)], ["A"]) for n in range(5)])
    assert len(only(read(path, story="id"))) == 5
    assert sizes == [(size, ["images", "texts", "id"]) for size in (2, 2, 1)]


@pytest.mark.parametrize("kind", ["jsonl", "csv", "tsv", "parquet"])
def test_image_paths_stay_inside_the_folder(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "source"
    (folder / "pictures").mkdir(parents=True)
    (folder / "pictures" / "1.jpg").write_bytes(still(1))
    (tmp_path / "secret.jpg").write_bytes(still(9))
    (folder / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    names = ["pictures/1.jpg", "../secret.jpg", str(tmp_path / "secret.jpg"), "link.jpg", "none.jpg"]
    rows = [{"story": "a", "image": name, "text": "A"} for name in names]
    path = folder / f"table.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif kind == "jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        mark = "," if kind == "csv" else "\t"
        path.write_text("\n".join(mark.join(row) for row in (rows[0].keys(), *(row.values() for row in rows))))
    (story,) = only(read(path, **ROWS))
    assert [frame.image for frame in story.frames] == [folder / "pictures" / "1.jpg", *[None] * 4]
    assert codes(story) == [("outside_folder", 1), ("outside_folder", 2), ("outside_folder", 3), ("missing_image", 4)]


def test_image_folder_with_metadata(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"{number}.jpg").write_bytes(still(number))
    (tmp_path / "metadata.csv").write_text("file_name,story,text\n1.jpg,a,A\n2.jpg,a,B\n")
    (story,) = only(read(tmp_path, **ROWS))
    assert texts(story) == ["A", "B"]
    assert [Path(str(frame.image)).read_bytes() for frame in story.frames] == [still(1), still(2)]


def card(folder: Path, files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text(f"---\nconfigs:\n- config_name: one\n  data_files: {files}\n"
                                      "- config_name: two\n  data_files: two.parquet\n---\n")  # fmt: skip
    return folder


def test_a_configuration_is_chosen_by_name(tmp_path: Path) -> None:
    for name in ("one", "two"):
        stories_file(card(tmp_path, "one.parquet") / f"{name}.parquet", (name, [still(0)], ["A"]))
    assert [story.id for story in only(read(tmp_path, config="two", story="id"))] == ["two"]
    assert "config" in problem(tmp_path)
    assert "['one', 'two']" in problem(tmp_path, config="three")
    assert "has no configurations" in problem(tmp_path / "one.parquet", config="one")


@pytest.mark.parametrize(
    "files", ["../s.parquet", "{root}/s.parquet", "https://a.invalid/s.parquet", "[a.parquet, /b]"]
)
def test_dataset_card_with_remote_data_is_refused(tmp_path: Path, files: str) -> None:
    path = stories_file(tmp_path / "s.parquet", ("a", [still(0)], ["A"]))
    assert "names data elsewhere" in problem(card(tmp_path / "source", files.format(root=tmp_path)))
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "s.parquet").symlink_to(path)
    assert "is a link out of the folder" in problem(tmp_path / "linked")


def test_missing_columns_are_named_with_suggestions(tmp_path: Path) -> None:
    path = stories_file(tmp_path / "s.parquet", ("a", [still(0)], ["A"]))
    message = problem(path, images="image")
    assert "split train: no column 'image'; did you mean images? (--set dataset.images=COLUMN)" in message
    assert "known: id, images, texts, other" in message
    assert "--set dataset.group=COLUMN" in problem(path, group="zzzz")


def test_local_dataset_is_not_streamed(tmp_path: Path) -> None:
    path = stories_file(tmp_path / "s.parquet", ("a", [still(0)], ["A"]))
    for source in (path, tmp_path):
        assert "is local, so it is not streamed; leave out dataset.streaming" in problem(source, streaming=True)


def test_survey_of_local_files_is_empty(tmp_path: Path) -> None:
    assert build(HubOptions()).survey(str(tmp_path)) == Survey()


def test_invalid_sources_and_options_are_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert "no source" in problem(None)
    assert "not a hub id" in problem("none")
    assert "cannot be read" in problem(tmp_path)
    for name in ("a.pkl", "a.zip"):
        (tmp_path / name).write_bytes(b"junk")
        assert "unsupported format; name" in problem(tmp_path / name)
    (tmp_path / "a.parquet").write_bytes(b"junk")
    assert "cannot be read" in problem(tmp_path / "a.parquet")
    assert capfd.readouterr().err == ""
    frames_file(tmp_path / "b [2]" / "s.parquet", ("a", b"x", "A"))
    assert "rename" in problem(tmp_path / "b [2]", **ROWS)
    assert "dataset.story=COLUMN" in problem(tmp_path, layout="frames")
    assert "layout=frames" in problem(tmp_path, order="n")
    for name in ("c/a.txt", "d/a.tar"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"junk")
        assert "has an unsupported format" in problem((tmp_path / name).parent)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, and no hub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path / "datasets--someone--tales"


def test_cached_dataset_needs_no_hub(cache: Path) -> None:
    assert "HF_HUB_OFFLINE" in problem("someone/tales", story="id")
    # As the cache has it: a commit's files are links to blobs beside it.
    blob = stories_file(cache / "blobs" / "abc", ("a", [still(0)], ["A"]))
    commit = "0123456789" * 4
    (cache / "snapshots" / commit / "data").mkdir(parents=True)
    (cache / "snapshots" / commit / "data" / "train-0.parquet").symlink_to(blob)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text(commit)
    assert [story.id for story in only(read("someone/tales", story="id"))] == ["a"]
    facts = build(HubOptions(config="c")).describe("someone/tales")
    assert facts == {"source": "someone/tales", "revision": commit, "config": "c"}
    assert build(HubOptions()).describe(str(cache)) == {"source": cache.name, "revision": "local files"}


def test_paths_of_other_systems_and_invalid_images(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "1.jpg").write_bytes(b"picture")
    cells = ["sub\\1.jpg", "data:image/png;base64,AAAA", "https://example.org/1.jpg"]
    path = frames_file(tmp_path / "s.parquet", *(("a", cell, "A") for cell in cells))
    (story,) = only(read(path, **ROWS))
    assert [frame.image for frame in story.frames] == [tmp_path / "sub" / "1.jpg", None, None]
    assert "is an image in base64" in story.notes[0].detail
    assert "is an address, and nothing is fetched" in story.notes[1].detail
