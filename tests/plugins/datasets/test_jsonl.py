"""Stories from JSON lines."""

import gzip
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vsr_cli.api import Options, Rejected, Story, VsrError
from vsr_plugins.datasets import jsonl
from vsr_plugins.datasets.jsonl import build

from .reading import codes, error_of


def write(folder: Path, *lines: object) -> Path:
    """Write a file of lines; bytes and strings stand as they are. Images are not looked at by this plugin."""
    for name in ("1.jpg", "2.jpg"):
        (folder / name).write_bytes(b"picture")
    path = folder / "stories.jsonl"
    raw = [line if isinstance(line, bytes) else line.encode() if isinstance(line, str) else json.dumps(line).encode()
           for line in lines]  # fmt: skip
    path.write_bytes(b"\n".join(raw))
    return path


def read(path: Path) -> list[Story | Rejected]:
    return list(build(Options()).read(str(path)))


def one(path: Path) -> Story:
    (story,) = read(path)
    assert isinstance(story, Story)
    return story


def frames(*pairs: tuple[str | None, str | None]) -> dict[str, object]:
    return {"frames": [{"image": image, "text": text} for image, text in pairs]}


def problem(source: Path | None) -> str:
    return error_of(build(Options()), source)


GOOD = frames(("1.jpg", "One."), ("2.jpg", " Two.\r\n"))


def test_a_line_is_a_story(tmp_path: Path) -> None:
    more = {"id": "a", "group": 7, "split": "test", "mood": "ignored"}
    path = write(tmp_path, b"\xef\xbb\xbf" + json.dumps(GOOD | more).encode(), "", "  \r", GOOD)
    first, second = read(path)
    assert isinstance(first, Story)
    assert isinstance(second, Story)
    assert (first.id, first.group, first.split, first.notes) == ("a", "7", "test", ())
    assert [(frame.image, frame.text) for frame in first.frames] == [
        (tmp_path / "1.jpg", "One."),
        (tmp_path / "2.jpg", "Two."),
    ]
    assert (second.id, second.group, second.split) == ("4", None, None)


def test_frames_without_text_or_image_are_noted(tmp_path: Path) -> None:
    story = one(
        write(tmp_path, frames(("1.jpg", None), (None, "a"), ("1.jpg", " "), ("3.jpg", "b"), ("x" * 5000, "c")))
    )
    assert [(frame.image is None, frame.text) for frame in story.frames] == [
        (False, None), (True, "a"), (False, None), (True, "b"), (True, "c"),
    ]  # fmt: skip
    assert codes(story) == [
        ("missing_text", 0), ("missing_image", 1), ("empty_text", 2), ("missing_image", 3), ("missing_image", 4),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["../1.jpg", "sub/../1.jpg", "{root}/1.jpg", "link.jpg", "C:\\x.jpg", "a\0b"])
def test_image_outside_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "1.jpg").write_bytes(b"secret")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "link.jpg").symlink_to(tmp_path / "1.jpg")
    story = one(write(tmp_path / "inner", frames(("1.jpg", "a"), (name.format(root=tmp_path), "b"))))
    assert [frame.image for frame in story.frames] == [tmp_path / "inner" / "1.jpg", None]
    assert [frame.text for frame in story.frames] == ["a", "b"]
    assert codes(story) == [("outside_folder", 1)]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "the line"),
        ("[]", "the line"),
        ("3", "the line"),
        ('{"id": "a"}', "frames"),
        ('{"id": true, "frames": []}', "id.str"),
        ('{"frames": [{"image": 3}]}', "frames.0.image"),
        ('{"frames": [], "split": "dev"}', "split"),
        ('{"frames": [{"text": "\\ud800"}]}', "the line"),
        (b"\xff", "the line"),
        ("[" * 100_000, "the line"),
    ],
)
def test_invalid_line_is_rejected_and_others_are_read(tmp_path: Path, line: str | bytes, says: str) -> None:
    path = write(tmp_path, GOOD, line, GOOD)
    before, bad, after = read(path)
    assert isinstance(before, Story)
    assert isinstance(bad, Rejected)
    assert isinstance(after, Story)
    assert (bad.where, bad.code) == (f"{path}:2", "bad_json_line")
    assert bad.detail.startswith(f"{says}: ")
    assert "\n" not in bad.detail
    assert after.id == "3"


def test_a_story_without_frames_is_rejected(tmp_path: Path) -> None:
    (story,) = read(write(tmp_path, {"frames": []}))
    assert isinstance(story, Rejected)
    assert story.code == "no_frames"


@pytest.mark.parametrize("length", [200, 201, 500, 402])
def test_too_long_line_is_never_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    monkeypatch.setattr(jsonl, "MAX_LINE", 200)
    path = write(tmp_path, GOOD, "x" * length, GOOD, "x" * length)
    with path.open("rb") as file:
        assert max(len(line) for line in jsonl._lines(file) if line) <= 200
    stories = read(path)
    # The first of the two ends with a line feed, which counts.
    wanted = {200: ["line_too_long", "bad_json_line"]}.get(length, ["line_too_long"] * 2)
    assert [story.code for story in stories if isinstance(story, Rejected)] == wanted
    assert [story.id for story in stories if isinstance(story, Story)] == ["1", "3"]


@given(st.lists(st.one_of(st.binary(max_size=40), st.text(max_size=40).map(str.encode),
                          st.recursive(st.none() | st.booleans() | st.integers() | st.text(),
                                       lambda inner: st.lists(inner) | st.dictionaries(
                                           st.sampled_from(["id", "frames", "image", "text", "split"]), inner))
                          .map(lambda value: json.dumps(value).encode()))))  # fmt: skip
def test_any_line_is_read_without_error(lines: list[bytes]) -> None:
    assume(not b"".join(lines).startswith((b"\x1f\x8b", b"\xff\xfe", b"\xfe\xff")))  # gzip and UTF-16 are read as such
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), *lines, GOOD)
        stories = read(path)
        whole = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    assert len(stories) == sum(bool(line.strip()) for line in whole.split(b"\n"))
    assert isinstance(stories[-1], Story)


def test_invalid_sources_are_one_line(tmp_path: Path) -> None:
    assert "one story per line" in problem(None)
    assert "no such file" in problem(tmp_path / "none.jsonl")
    assert "is a folder" in problem(tmp_path)


ARRAY = [GOOD | {"id": "a"}, {"id": "b", "frames": [{"image": "2.jpg", "text": "b"}]}]


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(ARRAY),
        json.dumps(ARRAY, indent=2),
        json.dumps({"stories": ARRAY}, indent=1),
        "\n".join(json.dumps(story, indent=1) for story in ARRAY),
        "\ufeff" + json.dumps(ARRAY),
    ],
)
def test_json_arrays_and_indented_stories_are_read(tmp_path: Path, content: str) -> None:
    stories = read(write(tmp_path, content))
    assert [story.id for story in stories if isinstance(story, Story)] == ["a", "b"]
    assert build(Options()).survey(str(tmp_path / "stories.jsonl")).stories == 2  # type: ignore[attr-defined]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_marks_and_gzip(tmp_path: Path, encoding: str) -> None:
    content = "\r\n".join(map(json.dumps, ARRAY)).encode(encoding)
    for name, raw in (("s.jsonl", content), ("s.jsonl.gz", gzip.compress(content))):
        write(tmp_path).with_name(name).write_bytes(raw)
        assert [story.id for story in read(tmp_path / name) if isinstance(story, Story)] == ["a", "b"]


def test_invalid_array_entry_is_rejected_by_its_number(tmp_path: Path) -> None:
    path = write(tmp_path, json.dumps([GOOD, {"frames": 3}, GOOD]))
    _, bad, good = read(path)
    assert isinstance(bad, Rejected)
    assert (bad.where, bad.code) == (f"{path}: entry 2", "bad_json_line")
    assert isinstance(good, Story)
    assert good.id == "3"


@pytest.mark.parametrize(
    ("name", "raw", "says"),
    [
        ("s.jsonl.gz", gzip.compress(b"{}\n" * 99, mtime=0)[:-12], "is truncated"),
        ("s.jsonl.gz", gzip.compress(b"{}\n", mtime=0)[:12] + b"\xff" * 40, "damaged"),
        ("s.jsonl", "{\n".encode("utf-16"), "is in UTF-16 and not JSON"),
        ("s.jsonl", b"\xff\xfe{", "is in UTF-16 and not JSON"),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path: Path, name: str, raw: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(raw)
    with pytest.raises(VsrError, match=says) as caught:
        read(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_large_array_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "MAX_WHOLE", 50)
    assert "write one story per line" in problem(write(tmp_path, json.dumps([GOOD])))
    assert len(read(write(tmp_path, GOOD, GOOD))) == 2


def test_misnamed_text_key_is_suggested(tmp_path: Path) -> None:
    story = one(write(tmp_path, {"frames": [{"image": "1.jpg", "caption": "x"}]}))
    assert "it has 'caption'; the key of a text is \"text\"" in story.notes[0].detail


@pytest.mark.parametrize("name", ["sub\\1.jpg", "./sub/1.jpg", "{root}/sub/1.jpg"])
def test_paths_of_other_systems_are_accepted(tmp_path: Path, name: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "1.jpg").write_bytes(b"p")
    story = one(write(tmp_path, frames((name.format(root=tmp_path), "x"))))
    assert story.frames[0].image == tmp_path / "sub" / "1.jpg"
