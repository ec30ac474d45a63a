"""Stories from folders of image and text files."""

import json
import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import features

from vsr_cli.api import Options, Rejected, Story, image_suffixes, natural
from vsr_plugins.datasets.folder import build

from .reading import codes, error_of

REAL = Path(__file__).parents[4] / "shared" / "stories"


def make(folder: Path, **files: str | bytes) -> Path:
    """Write a story folder; `_` in a name stands for the dot. Images are not looked at by this plugin."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        (folder / name.removeprefix("n").replace("_", ".")).write_bytes(data)
    return folder


def pair(folder: Path, stem: str = "1", text: str | bytes = "Words.") -> Path:
    return make(folder, **{f"n{stem}_jpg": b"picture", f"n{stem}_txt": text})


def read(source: Path) -> list[Story | Rejected]:
    return list(build(Options()).read(str(source)))


def one(source: Path) -> Story:
    (story,) = read(source)
    assert isinstance(story, Story)
    return story


def rejected(source: Path) -> Rejected:
    (story,) = read(source)
    assert isinstance(story, Rejected)
    assert "\n" not in story.detail
    return story


def problem(source: Path | None) -> str:
    return error_of(build(Options()), source)


def write_json(folder: Path, frames: object, **more: object) -> Path:
    return make(folder, nstory_json=json.dumps({"frames": frames, **more}))


def test_frames_and_stories_come_in_natural_order(tmp_path: Path) -> None:
    for name in ("story 10", "story 2", "a"):
        for stem in ("10", "9", "page-2", "page-10"):
            pair(tmp_path / name, stem, f"text {stem}")
    stories = read(tmp_path)
    assert [story.id for story in stories if isinstance(story, Story)] == ["a", "story 2", "story 10"]
    assert isinstance(stories[0], Story)
    assert [frame.text for frame in stories[0].frames] == ["text 9", "text 10", "text page-2", "text page-10"]
    assert [Path(str(frame.image)).name for frame in stories[0].frames][:2] == ["9.jpg", "10.jpg"]
    assert stories[0].notes == ()


@given(st.lists(st.text(max_size=8)))
def test_natural_order_is_total(names: list[str]) -> None:
    backwards = names[::-1]
    assert sorted(names, key=natural) == sorted(backwards, key=natural)


def test_the_source_may_be_one_story(tmp_path: Path) -> None:
    story = one(pair(tmp_path / "mine"))
    assert story.id == "mine"
    assert len(story.frames) == 1


def test_nested_folder_of_images_is_ignored(tmp_path: Path) -> None:
    make(pair(tmp_path / "mine") / "thumbs", n1_jpg=b"small")
    assert one(tmp_path / "mine").id == "mine"


def test_story_with_nested_stories_is_refused(tmp_path: Path) -> None:
    pair(pair(tmp_path) / "inner")
    assert "inner" in problem(tmp_path)


def test_suffixes_in_any_case_and_hidden_files(tmp_path: Path) -> None:
    make(tmp_path / "s", n1_JPG=b"p", n1_TXT="a", n2_WebP=b"p", n2_txt="b", n3_PNG=b"p", n3_txt="c")
    make(tmp_path / "s", n_4_jpg=b"hidden", notes_md="other")
    make(tmp_path / ".hidden", n1_jpg=b"p", n1_txt="a")
    story = one(tmp_path)
    assert [frame.text for frame in story.frames] == ["a", "b", "c"]
    assert story.notes == ()


def test_frames_without_text_or_image_are_noted(tmp_path: Path) -> None:
    folder = pair(tmp_path / "s")
    make(folder, n2_jpg=b"p", n3_txt="alone", n4_jpg=b"p", n4_txt=" \r\n\t ")
    story = one(tmp_path)
    assert [(frame.image is not None, frame.text) for frame in story.frames] == [
        (True, "Words."),
        (True, None),
        (False, "alone"),
        (True, None),
    ]
    assert codes(story) == [("missing_text", 1), ("missing_image", 2), ("empty_text", 3)]


def test_stems_must_match_exactly(tmp_path: Path) -> None:
    make(pair(tmp_path / "s", "2"), n01_jpg=b"p", n1_txt="a")
    assert codes(one(tmp_path)) == [("missing_text", 0), ("missing_image", 1)]


def test_folder_without_pairs_is_rejected(tmp_path: Path) -> None:
    pair(tmp_path / "good")
    make(tmp_path / "bad", n1_jpg=b"p", n2_jpg=b"p")
    (tmp_path / "empty").mkdir()
    stories = read(tmp_path)
    assert [story.code for story in stories if isinstance(story, Rejected)] == ["no_pairs", "no_pairs"]
    assert [story.id for story in stories if isinstance(story, Story)] == ["good"]


def test_two_images_of_one_stem(tmp_path: Path) -> None:
    make(pair(tmp_path / "s"), n1_png=b"other")
    story = one(tmp_path)
    assert codes(story) == [("duplicate_image", 0)]
    assert Path(str(story.frames[0].image)).name == "1.jpg"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_with_a_byte_order_mark_are_read(tmp_path: Path, encoding: str) -> None:
    pair(tmp_path / "s", text="\r\n Ève’s\r\nhouse \r\n".encode(encoding))
    story = one(tmp_path)
    assert story.frames[0].text == "Ève’s\nhouse"
    assert story.notes == ()


@pytest.mark.parametrize(
    "raw", ["Ève".encode("latin-1"), "Eve".encode("utf-16-le"), "Eve".encode("utf-32"), b"\xff\xfeE"]
)
def test_other_encodings_are_reported(tmp_path: Path, raw: bytes) -> None:
    pair(tmp_path / "s", text=raw)
    story = one(tmp_path)
    assert story.frames[0].text is None
    assert story.frames[0].image is not None
    assert codes(story) == [("wrong_encoding", 0)]
    assert "1.txt" in story.notes[0].detail
    assert "save it as UTF-8" in story.notes[0].detail


def test_link_out_of_the_story_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    folder = make(tmp_path / "stories" / "s", n1_jpg=b"p", n2_jpg=b"p", n2_txt="fine")
    (folder / "1.txt").symlink_to(secret)
    story = one(tmp_path / "stories")
    assert [frame.text for frame in story.frames] == [None, "fine"]
    assert codes(story) == [("outside_story", 0)]


def test_story_json(tmp_path: Path) -> None:
    folder = make(tmp_path / "s" / "pictures", nb_jpg=b"p", na_png=b"p").parent
    write_json(
        folder,
        [
            {"image": "pictures/b.jpg", "text": " First. "},
            {"image": "pictures/a.png", "text": "", "mood": "ignored"},
            {"image": "x" * 5000},
            {"text": "no picture"},
        ],
        id="my-story",
    )
    story = one(tmp_path)
    assert story.id == "my-story"
    assert [frame.text for frame in story.frames] == ["First.", None, None, "no picture"]
    assert story.frames[0].image == folder / "pictures" / "b.jpg"
    assert codes(story) == [
        ("empty_text", 1),
        ("missing_image", 2),
        ("missing_text", 2),
        ("missing_image", 3),
    ]


@pytest.mark.parametrize(
    "name",
    ["../outside.jpg", "sub/../1.jpg", "{root}/outside.jpg", "link.jpg", "C:\\x.jpg", "a\0b"],
)
def test_story_json_never_leaves_its_folder(tmp_path: Path, name: str) -> None:
    make(tmp_path, noutside_jpg=b"p")
    folder = write_json(tmp_path / "stories" / "s", [{"image": name.format(root=tmp_path), "text": "a"}])
    (folder / "link.jpg").symlink_to(tmp_path / "outside.jpg")
    story = rejected(tmp_path / "stories")
    assert story.code == "outside_story"
    assert "relative path" in story.detail


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"frames": 3}', '{"frames": [{"image": 3}]}', '{"frames": [1]}', "[" * 100_000, "\xff"],
)
def test_a_bad_story_json_is_rejected(tmp_path: Path, content: str) -> None:
    make(tmp_path / "s", nstory_json=content.encode("latin-1"))
    assert rejected(tmp_path).code == "bad_story_json"


@pytest.mark.parametrize("kind", ["folder", "pipe", "lost link"])
def test_story_json_that_is_no_file_is_rejected(tmp_path: Path, kind: str) -> None:
    path = make(tmp_path / "s", n1_jpg=b"picture", n1_txt="a") / "story.json"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("gone.json")
    assert rejected(tmp_path).code == "bad_story_json"


def test_invalid_utf16_story_json_is_rejected(tmp_path: Path) -> None:
    content = '{"frames": [{"text": "a b"}]}'.encode("utf-16").replace("b".encode("utf-16-le"), b"\x00\xdc")
    make(tmp_path / "s", nstory_json=content)
    assert rejected(tmp_path).code == "bad_story_json"


def test_story_json_without_frames(tmp_path: Path) -> None:
    write_json(tmp_path / "s", [])
    assert rejected(tmp_path).code == "no_pairs"


def test_story_json_may_have_a_byte_order_mark(tmp_path: Path) -> None:
    make(tmp_path / "s", nstory_json=b'\xef\xbb\xbf{"frames": [{"text": "a"}]}')
    assert one(tmp_path).frames[0].text == "a"


def test_invalid_sources_are_one_line(tmp_path: Path) -> None:
    assert "01.jpg and 01.txt" in problem(None)
    assert "no such folder" in problem(tmp_path / "none")
    assert "is a file" in problem(make(tmp_path, nf_txt="x") / "f.txt")
    (tmp_path / "empty").mkdir()
    assert "holds no story folders" in problem(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_folder_is_rejected(tmp_path: Path) -> None:
    pair(tmp_path / "a")
    pair(tmp_path / "b").chmod(0)
    stories = read(tmp_path)
    assert [story.code for story in stories if isinstance(story, Rejected)] == ["unreadable_folder"]


@pytest.mark.skipif(not REAL.is_dir(), reason="the picture books are not here")
def test_real_stories() -> None:
    stories = [story for story in read(REAL) if isinstance(story, Story)]
    assert len(stories) == 241
    assert all(frame.image and frame.text for story in stories for frame in story.frames)
    assert not any(story.notes for story in stories)


def images(source: Path) -> list[str | None]:
    return [Path(str(frame.image)).name if frame.image else None for frame in one(source).frames]


@pytest.mark.parametrize("suffix", ["gif", "BMP", "tif", "TIFF", "jfif", "jpe", "webp"])
def test_every_image_suffix_is_read(tmp_path: Path, suffix: str) -> None:
    make(pair(pair(tmp_path / "s", "1"), "3"), **{f"n2_{suffix}": b"p", "n2_txt": "b"})
    assert images(tmp_path) == ["1.jpg", f"2.{suffix}", "3.jpg"]
    assert one(tmp_path).notes == ()


def test_avif_is_read_if_pillow_supports_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "s", n1_avif=b"p", n1_txt="a")
    assert (".avif" in image_suffixes()) == features.check("avif")
    monkeypatch.setattr("vsr_plugins.datasets.folder_pairs.image_suffixes", lambda: (".jpg", ".avif"))
    assert images(tmp_path) == ["1.avif"]


@pytest.mark.parametrize("suffix", ["heic", "HEIF", "jxl", "jp2", "svg", "pdf", "mp4"])
@pytest.mark.parametrize("text", ["b", None])
def test_unsupported_image_is_noted(tmp_path: Path, suffix: str, text: str | None) -> None:
    folder = make(pair(pair(tmp_path / "s", "1"), "3"), **{f"n2_{suffix}": b"p"})
    if text:
        make(folder, n2_txt=text)
    story = one(tmp_path)
    assert [frame.text for frame in story.frames] == ["Words.", text, "Words."]
    (note, *others) = story.notes
    assert (note.code, note.frame) == ("unsupported_image", 1)
    assert f"2.{suffix} has an unsupported format (supported: JPEG" in note.detail
    assert "convert it to JPEG or PNG" in note.detail
    assert [other.code for other in others] == ([] if text else ["missing_text"])


def test_unsupported_text_is_noted(tmp_path: Path) -> None:
    make(pair(tmp_path / "s", "1"), n2_jpg=b"p", n2_docx=b"x")
    assert codes(one(tmp_path)) == [("unsupported_text", 1)]
    assert "2.docx" in one(tmp_path).notes[0].detail


def test_folder_named_as_an_image_is_left_to_the_decoder(tmp_path: Path) -> None:
    make(pair(tmp_path / "s", "1"), n2_txt="b")
    (tmp_path / "s" / "2.jpg").mkdir()
    assert images(tmp_path) == ["1.jpg", "2.jpg"]


@pytest.mark.parametrize("loop", [True, False])
def test_dangling_link_is_noted(tmp_path: Path, loop: bool) -> None:
    make(pair(tmp_path / "s", "1"), n2_txt="b")
    (tmp_path / "s" / "2.jpg").symlink_to("2.jpg" if loop else "gone.jpg")
    (note,) = one(tmp_path).notes
    assert (note.code, note.frame) == ("missing_image", 1)
    assert "is a broken link" in note.detail


@pytest.mark.parametrize("stray", ["README_txt", "cover_jpg", "cover2_png", "notes-2020_txt"])
def test_stray_file_is_no_frame(tmp_path: Path, stray: str) -> None:
    for stem in ("01", "02", "03"):
        make(pair(tmp_path / "s", stem), **{f"n{stray}": "x"})
    story = one(tmp_path)
    assert len(story.frames) == 3
    assert codes(story) == [("stray_file", None)]
    assert stray.replace("_", ".") in story.notes[0].detail


def test_unpaired_file_named_like_pairs_is_a_frame(tmp_path: Path) -> None:
    make(pair(pair(tmp_path / "s", "page-1"), "page-2"), n03_jpg=b"p")
    make(tmp_path / "s", **{"npage-3_jpg": b"p"})
    assert codes(one(tmp_path)) == [("missing_text", 2), ("stray_file", None)]
    named = pair(pair(tmp_path / "t", "ann"), "bob")
    make(named, ncarl_jpg=b"p")
    assert codes(one(named)) == [("missing_text", 2)]


def test_unnumbered_pair_is_read_and_noted(tmp_path: Path) -> None:
    for stem in ("1", "2", "3", "end"):
        pair(tmp_path / "s", stem, f"text {stem}")
    story = one(tmp_path)
    assert [frame.text for frame in story.frames] == ["text 1", "text 2", "text 3", "text end"]
    assert codes(story) == [("unnumbered_pair", 3)]


@pytest.mark.parametrize(
    ("stems", "missing"),
    [
        (["1", "2", "4", "8"], "3, 5 to 7"),
        (["p01", "p02", "p04", "p05"], "3"),
        (["10", "20", "30", "50"], None),
        (["1a", "1b", "2", "4"], None),
        (["3", "4", "5"], None),
        (["1", "9"], None),
    ],
)
def test_gaps_in_the_numbers_are_noted(tmp_path: Path, stems: list[str], missing: str | None) -> None:
    for stem in stems:
        pair(tmp_path / "s", stem)
    notes = one(tmp_path).notes
    assert [note.code for note in notes] == ([] if missing is None else ["missing_number"])
    assert missing is None or notes[0].detail.endswith(f"missing: {missing}")


def test_system_files_are_ignored(tmp_path: Path) -> None:
    folder = pair(pair(tmp_path / "s", "1"), "2")
    for name in ("._1.jpg", "._2.txt", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (folder / name).write_bytes(b"x")
    for name in ("__MACOSX", "@eaDir", "lost+found"):
        make(tmp_path / name, n1_jpg=b"p")
    assert one(tmp_path).notes == ()


def test_names_are_paired_across_unicode_forms(tmp_path: Path) -> None:
    folder = make(tmp_path / "s", n1_jpg=b"p", n1_txt="a")
    (folder / "1.jpg").rename(folder / unicodedata.normalize("NFD", "é가1.jpg"))
    (folder / "1.txt").rename(folder / unicodedata.normalize("NFC", "é가1.txt"))
    assert codes(one(tmp_path)) == []
    assert [(frame.image is not None, frame.text) for frame in one(tmp_path).frames] == [(True, "a")]


@pytest.mark.parametrize(("on_disk", "written"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_story_json_finds_files_across_unicode_forms(tmp_path: Path, on_disk: str, written: str) -> None:
    inner = tmp_path / "s" / unicodedata.normalize(on_disk, "bücher")  # type: ignore[arg-type]
    inner.mkdir(parents=True)
    image = inner / unicodedata.normalize(on_disk, "é.jpg")  # type: ignore[arg-type]
    image.write_bytes(b"p")
    write_json(tmp_path / "s", [{"image": unicodedata.normalize(written, "bücher/é.jpg"), "text": "a"}])  # type: ignore[arg-type]
    assert one(tmp_path).frames[0].image == image


@pytest.mark.parametrize("name", ["sub\\1.jpg", "./sub/1.jpg", "{root}/sub/1.jpg", "file://{root}/sub/1.jpg"])
def test_story_json_accepts_paths_of_other_systems(tmp_path: Path, name: str) -> None:
    folder = make(tmp_path / "s" / "sub", n1_jpg=b"p").parent
    write_json(folder, [{"image": name.format(root=folder), "text": "a"}])
    assert one(tmp_path).frames[0].image == folder / "sub" / "1.jpg"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("https://example.com/1.jpg", "is an address, and nothing is fetched"),
        ("s3://bucket/1.jpg", "is an address, and nothing is fetched"),
        ("data:image/jpeg;base64,AAAA", "is an image in base64"),
        ("/9j/4AAQ" + "A" * 5000, "is an image in base64"),
        ("gone.jpg", "'gone.jpg' is no file"),
    ],
)
def test_story_json_notes_why_an_image_is_missing(tmp_path: Path, name: str, why: str) -> None:
    write_json(tmp_path / "s", [{"image": name, "text": "a"}])
    (note,) = one(tmp_path).notes
    assert note.code == "missing_image"
    assert why in note.detail
    assert len(note.detail) < 200


def test_a_linked_story_keeps_its_own_name(tmp_path: Path) -> None:
    target = pair(tmp_path / "elsewhere" / "other")
    (tmp_path / "stories").mkdir()
    (tmp_path / "stories" / "mine").symlink_to(target)
    assert one(tmp_path / "stories").id == "mine"
    assert one(tmp_path / "stories" / "mine").id == "mine"


@pytest.mark.parametrize(
    "text", ["\u200b\ufeff", "\u00ad \u2800", "\u3164\n\uffa0", "\ufe0f\u200d", "\x01\x1b", "\u2028"]
)
def test_invisible_text_is_empty(tmp_path: Path, text: str) -> None:
    pair(tmp_path / "s", text=text)
    assert codes(one(tmp_path)) == [("empty_text", 0)]
