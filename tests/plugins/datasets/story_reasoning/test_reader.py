"""StoryReasoning from local files and without the Hub."""

import io
import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, Features, Sequence, Value
from datasets import Image as ImageFeature
from huggingface_hub import errors
from PIL import Image

from vsr_cli.api import Rejected, Story, Survey, VsrError
from vsr_plugins.datasets import StoryReasoningOptions
from vsr_plugins.datasets.story_reasoning.reader import build

from ..reading import error_of

ROOT = Path(__file__).parents[4]
FEATURES = Features(
    story_id=Value("string"),
    images=Sequence(ImageFeature()),
    frame_count=Value("int32"),
    chain_of_thought=Value("string"),
    story=Value("string"),
)


def still(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (10, 24, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def markup(frames: int) -> str:
    return "\n\n".join(
        f"<gdi image{n}>\n<gdo char1>Mara</gdo> <gda char1>opens</gda> box {n}.\n</gdi>" for n in range(1, frames + 1)
    )


def row(story_id: str | None, frames: int = 5, **other: object) -> dict[str, object]:
    images = [{"bytes": still(index), "path": None} for index in range(frames)]
    plain = {"images": images, "frame_count": frames, "chain_of_thought": "", "story": markup(frames)}
    return {"story_id": story_id, **plain, **other}


def write(folder: Path, name: str, rows: list[dict[str, object]]) -> Path:
    (folder / "data").mkdir(parents=True, exist_ok=True)
    columns = {key: [row[key] for row in rows] for key in FEATURES}
    Dataset.from_dict(columns, features=FEATURES).to_parquet(str(folder / "data" / name))
    return folder


def read(source: Path) -> list[Story | Rejected]:
    return list(build(StoryReasoningOptions()).read(str(source)))


def codes(story: Story | Rejected) -> list[tuple[str, int | None]]:
    assert isinstance(story, Story)
    return [(note.code, note.frame) for note in story.notes]


def problem(source: str) -> str:
    return error_of(build(StoryReasoningOptions()), source)


def test_splits_order_and_images(tmp_path: Path) -> None:
    # A name that would be a pattern, were it not escaped.
    source = tmp_path / "copy [1] of *"
    write(source, "test-00000-of-00001.parquet", [row("7")])
    write(source, "train-00001-of-00002.parquet", [row("3", 6)])
    write(source, "train-00000-of-00002.parquet", [row("1"), row("2")])
    stories = [story for story in read(source) if isinstance(story, Story)]
    assert [(story.id, story.split) for story in stories] == [
        ("1", "train"),
        ("2", "train"),
        ("3", "train"),
        ("7", "test"),
    ]
    assert all(story.notes == () for story in stories)
    assert [story.source_characters for story in stories] == [len(markup(count)) for count in (5, 5, 6, 5)]
    assert [len(story.frames) for story in stories] == [5, 5, 6, 5]
    assert [frame.text for frame in stories[0].frames] == [f"Mara opens box {n}." for n in range(1, 6)]
    # The very bytes of the file: nothing has decoded and encoded them again.
    assert [frame.image for frame in stories[0].frames] == [still(index) for index in range(5)]
    first, second = stories[0].frames[0].entities
    assert (first.kind, first.ids, first.start, first.end) == ("object", ("char1",), 0, 4)
    assert (second.kind, second.start, second.end) == ("action", 5, 10)


def test_defects_are_reported(tmp_path: Path) -> None:
    images = [{"bytes": still(0), "path": None}, {"bytes": b"", "path": "empty.jpg"}, None]
    rows = [
        row("wrong-closer", 1, story="<gdi image1><gda char1>stands</gdo> still.</gdi>"),
        row("images", 3, images=images),
        row("count", 5, frame_count=6),
        row("junk", 1, images=[{"bytes": b"not a picture", "path": None}]),
        row("gap", 3, story=markup(2)),
        row(None),
        row("silent", story=" "),
        row("untold", story=None),
        row("blind", images=[]),
        row("plain", 2, story="No tags at all."),
    ]
    by_id = dict(
        zip([str(row["story_id"]) for row in rows], read(write(tmp_path, "train-0.parquet", rows)), strict=True)
    )
    assert codes(by_id["wrong-closer"]) == [("mismatched_close", 0)]
    assert codes(by_id["images"]) == [("missing_image", 1), ("missing_image", 2)]
    assert codes(by_id["count"]) == [("frame_count_mismatch", None)]
    assert codes(by_id["junk"]) == []
    assert codes(by_id["gap"]) == [("missing_segment", 2)]
    assert codes(by_id["plain"])[0] == ("text_outside_segment", None)
    gap = by_id["gap"]
    assert isinstance(gap, Story)
    assert [(frame.image is None, frame.text is None) for frame in gap.frames] == [(False, False)] * 2 + [(False, True)]
    rejected = {key: story.code for key, story in by_id.items() if isinstance(story, Rejected)}
    assert rejected == {"None": "missing_story_id", "silent": "no_text", "untold": "no_text", "blind": "no_images"}


def test_boxes_and_ids_are_validated(tmp_path: Path) -> None:
    table = "| Character ID | Bounding Box |\n|---|---|\n| char1 | 2,1,99,9 |\n"
    words = "<gdo char7>Ivo</gdo> and <gdo char1>Mara</gdo> find <gdo obj3>it</gdo> at <gdl lm2>sea</gdl>."
    story = "".join(f"<gdi image{n}>{words}</gdi>" for n in (1, 2))
    thought = f"## Image 1\n{table}## Image 2\n{table}"
    (read_back,) = read(write(tmp_path, "train-0.parquet", [row("1", 2, story=story, chain_of_thought=thought)]))
    # Of things there is no table at all, and of places there never is: nobody can say that they are unknown.
    assert codes(read_back) == [("box_out_of_range", 0), ("box_out_of_range", 1), ("unknown_id", 0)]
    assert isinstance(read_back, Story)
    assert read_back.analysis
    assert [frame.characters[0].box for frame in read_back.analysis.frames] == [(2, 1, 24, 9)] * 2


def test_image_path_in_a_row_is_ignored(tmp_path: Path) -> None:
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(still(9))
    images = pa.array([[{"bytes": None, "path": str(secret)}]])
    table = pa.table({"story_id": ["1"], "images": images, "frame_count": [1], "story": [markup(1)]})
    (tmp_path / "data").mkdir()
    pq.write_table(
        table.cast(table.schema.set(1, pa.field("images", FEATURES.arrow_schema.field("images").type))),
        tmp_path / "data" / "test-0.parquet",
    )
    (story,) = read(tmp_path)
    assert codes(story) == [("missing_image", 0)]


def test_row_groups_are_read_one_at_a_time(tmp_path: Path) -> None:
    path = write(tmp_path, "train-0.parquet", [row(str(index), 1) for index in range(40)]) / "data" / "train-0.parquet"
    pq.write_table(pq.read_table(path), path, row_group_size=10)
    stories = build(StoryReasoningOptions()).read(str(tmp_path))
    first = next(stories)
    assert isinstance(first, Story)
    # The rows of the last group become unreadable, and those before it do not care.
    at = pq.read_metadata(path).row_group(3).column(0).dictionary_page_offset
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"\xff" * 2000)
    assert [story.id for story in itertools.islice(stories, 29) if isinstance(story, Story)][-1] == "29"
    with pytest.raises(VsrError, match="unreadable parquet"):
        next(stories)


def test_a_local_folder_is_not_streamed(tmp_path: Path) -> None:
    with pytest.raises(VsrError, match=r"is a local folder, .*; leave out dataset\.streaming"):
        build(StoryReasoningOptions(streaming=True)).read(str(write(tmp_path, "train-0.parquet", [row("1")])))


def test_survey_counts_the_rows_of_a_folder(tmp_path: Path) -> None:
    write(tmp_path, "train-0.parquet", [row("1", 1), row(None, 1)])
    write(tmp_path, "test-0.parquet", [row("3", 1)])
    assert build(StoryReasoningOptions()).survey(str(tmp_path)) == Survey(stories=3)
    (tmp_path / "data" / "test-0.parquet").write_bytes(b"junk")
    with pytest.raises(VsrError, match=r"test-0.parquet: unreadable parquet"):
        build(StoryReasoningOptions()).survey(str(tmp_path))


def test_invalid_folders(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "train-*.parquet" in problem(str(tmp_path))
    assert "is a file" in problem(str(tmp_path / "file"))
    for source in (str(tmp_path / "none"), "./none/here", "none", "a/b/c"):
        assert "no such folder" in problem(source)


def test_missing_columns_are_named(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "train-0.parquet"
    pq.write_table(pa.table({"story_id": ["1"], "text": ["a"]}), path)
    message = problem(str(tmp_path))
    assert "lacks the columns images, frame_count, story" in message
    pq.write_table(pa.table({"story_id": ["1"], "images": ["a.jpg"], "frame_count": [1], "story": ["a"]}), path)
    assert "not a list of encoded images" in problem(str(tmp_path))


def test_damaged_parquet(tmp_path: Path) -> None:
    write(tmp_path, "train-0.parquet", [row(str(index), 1) for index in range(3)])
    path = tmp_path / "data" / "train-0.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    assert "unreadable parquet" in problem(str(tmp_path))
    # The footer is whole, and the pages are not: known only once they are read.
    path.write_bytes(whole[:4] + b"\xff" * 2000 + whole[2004:])
    assert "unreadable parquet" in problem(str(tmp_path))


def test_a_damaged_page_loses_no_story_silently(tmp_path: Path) -> None:
    path = write(tmp_path, "train-0.parquet", [row(str(index), 1) for index in range(20)]) / "data" / "train-0.parquet"
    pq.write_table(pq.read_table(path), path, row_group_size=5)
    whole, messages = path.read_bytes(), []
    for at in range(4, 64):  # the first column's dictionary and the header of its page
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        try:
            assert len(list(build(StoryReasoningOptions()).read(str(tmp_path)))) == 20
        except VsrError as error:
            messages.append(str(error))
    assert any("lacks 5 of its rows" in message for message in messages)


@pytest.mark.parametrize("kind", [pa.string(), pa.list_(pa.uint8()), pa.int64()])
def test_images_that_are_not_bytes_are_refused(tmp_path: Path, kind: pa.DataType) -> None:
    (tmp_path / "data").mkdir()
    images = pa.array([[]], pa.list_(pa.struct({"bytes": kind, "path": pa.string()})))
    table = {"story_id": ["1"], "images": images, "frame_count": [1], "story": ["a"]}
    pq.write_table(pa.table(table), tmp_path / "data" / "train-0.parquet")
    assert "not a list of encoded images" in problem(str(tmp_path))


def test_describe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = build(StoryReasoningOptions())
    assert dataset.describe(str(tmp_path)) == {
        "source": tmp_path.name,
        "revision": "local files",
        "licence": "CC-BY-ND-4.0",
    }
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    facts = dataset.describe(None)
    assert facts["source"] == "daniel3303/StoryReasoning"
    assert facts["revision"] == "main"
    assert facts["licence"] == "CC-BY-ND-4.0"
    # What is logged before anything is fetched, or streamed.
    assert facts["download"] == "773 MB"
    facts = build(StoryReasoningOptions(streaming=True)).describe(None)
    assert (facts["licence"], facts["stream"], "download" in facts) == ("CC-BY-ND-4.0", "up to 773 MB", False)


REFUSED = """
from vsr_cli.api import VsrError
from vsr_plugins.datasets import StoryReasoningOptions
from vsr_plugins.datasets.story_reasoning.reader import build
try:
    build(StoryReasoningOptions()).read(None)
except VsrError as error:
    print(error)
"""


@pytest.mark.parametrize(
    "environment", [{"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0"}]
)
def test_unreachable_hub_is_one_line(tmp_path: Path, environment: dict[str, str]) -> None:
    # A fresh process: the hub's library reads its settings when it is imported.
    paths = os.pathsep.join([str(ROOT), str(ROOT / "plugins")])
    done = subprocess.run(
        [sys.executable, "-c", REFUSED],
        env={**os.environ, "PYTHONPATH": paths, "HF_HOME": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        check=True,
        # Retries would take half a minute.
        timeout=25,
    )
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1
    assert done.stdout.startswith("daniel3303/StoryReasoning: ")
    assert "local folder" in done.stdout


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, and no hub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path / "datasets--daniel3303--StoryReasoning"


def test_cached_dataset_needs_no_hub(cache: Path) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    write(cache / "snapshots" / commit, "train-0.parquet", [row("1")])
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text(commit)
    dataset = build(StoryReasoningOptions())
    (story,) = dataset.read(None)
    assert isinstance(story, Story)
    assert story.id == "1"
    assert dataset.describe(None)["revision"] == commit
    # A branch that moves on does not change what was read.
    (cache / "refs" / "main").write_text("f" * 40)
    assert dataset.describe(None)["revision"] == commit


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("RepositoryNotFoundError", "no such dataset"),
        ("GatedRepoError", "login"),
        ("RevisionNotFoundError", "no such revision"),
        ("HfHubHTTPError", "cannot be reached (first line)"),
    ],
)
def test_each_answer_of_the_hub_is_one_line(monkeypatch: pytest.MonkeyPatch, kind: str, says: str) -> None:
    # Made without its constructor, which wants the HTTP client's own response.
    error = getattr(errors, kind).__new__(getattr(errors, kind))
    error.args = ("first line\nsecond line",)

    def refuse(*_: object, **__: object) -> str:
        raise error

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", refuse)
    assert says in problem("someone/something")


def test_invalid_hub_id(cache: Path) -> None:
    assert "someone/a..b" in problem("someone/a..b")
