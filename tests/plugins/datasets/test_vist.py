"""Stories from annotation files of VIST."""

import json
from pathlib import Path

import pytest

from vsr_cli.api import Rejected, Story
from vsr_plugins.datasets import VistOptions
from vsr_plugins.datasets.vist import build

from .reading import codes, error_of

FILES = {"train": "train", "validation": "val", "test": "test"}


def entry(story: object, position: object, **other: object) -> list[dict[str, object]]:
    """Return an annotation as the published files hold it."""
    plain = {
        "original_text": f"It's [male], {position}.",
        "text": f"it 's [male] , {position} .",
        "album_id": f"album of {story}",
        "photo_flickr_id": f"{story}{position}",
        "worker_arranged_photo_order": position,
        "story_id": story,
        "tier": "story-in-sequence",
        "setting": "first-2-pick-and-tell",
    }
    return [plain | other]


def write(folder: Path, split: str, *annotations: object, photos: bool = True, **other: object) -> Path:
    folder.mkdir(exist_ok=True)
    if photos:
        (folder / "images").mkdir(exist_ok=True)
        for annotation in (inner for listed in annotations if isinstance(listed, list) for inner in listed):
            (folder / "images" / f"{annotation.get('photo_flickr_id')}.jpg").write_bytes(b"picture")
    path = folder / f"{FILES.get(split, split)}.story-in-sequence.json"
    path.write_text(json.dumps({"images": [], "annotations": annotations, "albums": [], **other}))
    return path


def read(source: Path, **options: object) -> list[Story | Rejected]:
    return list(build(VistOptions.model_validate(options)).read(str(source)))


def one(source: Path, **options: object) -> Story:
    (story,) = read(source, **options)
    assert isinstance(story, Story)
    return story


def problem(source: Path | None, **options: object) -> str:
    return error_of(build(VistOptions.model_validate(options)), source)


def test_splits_follow_the_file_names(tmp_path: Path) -> None:
    for number, split in enumerate(("test", "train", "validation")):
        write(tmp_path, split, *(entry(number, position) for position in range(5)))
    stories = [story for story in read(tmp_path) if isinstance(story, Story)]
    assert [(story.id, story.split) for story in stories] == [("1", "train"), ("2", "validation"), ("0", "test")]
    assert [story.group for story in stories] == ["album of 1", "album of 2", "album of 0"]
    assert all(len(story.frames) == 5 and not story.notes for story in stories)


def test_one_file_is_no_split(tmp_path: Path) -> None:
    path = write(tmp_path, "train", entry("1", 0))
    assert one(path).split is None
    assert one(tmp_path).split is None


def test_photos_are_in_the_worker_s_order(tmp_path: Path) -> None:
    story = one(write(tmp_path, "train", *(entry("7", position) for position in (3, 0, 4, 1, 2))))
    assert [frame.text for frame in story.frames] == [f"It's [male], {position}." for position in range(5)]
    assert [frame.image for frame in story.frames] == [
        tmp_path / "images" / f"7{position}.jpg" for position in range(5)
    ]


def test_stories_may_be_interleaved_and_ids_be_numbers(tmp_path: Path) -> None:
    path = write(tmp_path, "train", entry(1, 0), entry("2", 0), entry(1, 1), entry("2", 1))
    assert [(story.id, len(story.frames)) for story in read(path) if isinstance(story, Story)] == [("1", 2), ("2", 2)]


def test_the_original_text_comes_first(tmp_path: Path) -> None:
    path = write(tmp_path, "train", entry("1", 0), entry("1", 1, text=None), entry("1", 2, original_text=" "),
                 entry("1", 3, text="", original_text=None))  # fmt: skip
    told = one(path)
    assert [frame.text for frame in told.frames] == ["It's [male], 0.", "It's [male], 1.", "it 's [male] , 2 .", None]
    assert codes(told) == [("missing_text", 3)]


def test_missing_photos_are_noted(tmp_path: Path) -> None:
    path = write(tmp_path, "train", entry("1", 0), entry("1", 1))
    (tmp_path / "images" / "11.jpg").unlink()
    story = one(path)
    assert [frame.image is None for frame in story.frames] == [False, True]
    assert codes(story) == [("missing_image", 1)]


def test_photos_are_found_by_suffix_and_in_archive_folders(tmp_path: Path) -> None:
    path = write(tmp_path, "train", *(entry("1", position) for position in range(4)), photos=False)
    photos = tmp_path / "elsewhere"
    (photos / "train").mkdir(parents=True)
    for name in ("10.PNG", "train/11.jpeg", "train/12.gif", "12.txt", "13.gif", "13.jpg"):
        (photos / name).write_bytes(b"picture")
    names = [Path(str(frame.image)).relative_to(photos).as_posix() for frame in one(path, images=photos).frames]
    assert names == ["10.PNG", "train/11.jpeg", "train/12.gif", "13.jpg"]


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "link", "folder"])
def test_photo_outside_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    path = write(tmp_path / "vist", "train", entry("1", 0, photo_flickr_id=name), photos=False)
    (tmp_path / "vist" / "images" / "folder.jpg").mkdir(parents=True)
    (tmp_path / "vist" / "images" / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    story = one(path)
    assert story.frames[0].image is None
    assert codes(story) == [("outside_folder" if name == "link" else "missing_image", 0)]


def test_links_out_of_the_source_are_not_followed(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside", "train", entry("1", 0))
    inside = tmp_path / "vist"
    inside.mkdir()
    (inside / "images").symlink_to(tmp_path / "outside" / "images")
    (inside / outside.name).symlink_to(outside)
    assert "images: is a link out" in problem(inside)
    assert "train.story-in-sequence.json: is a link out" in problem(inside, images=tmp_path / "outside" / "images")


def test_album_may_be_given_by_the_image(tmp_path: Path) -> None:
    images = [{"id": 10, "album_id": 5}, {"no": "album"}, 3]
    assert one(write(tmp_path, "train", entry("1", 0, album_id=None), images=images)).group == "5"


def test_invalid_stories_are_rejected(tmp_path: Path) -> None:
    path = write(
        tmp_path, "train", entry("good", 0), {"story_id": "x"}, entry("x", "first"), [], None,
        entry("gap", 0), entry("gap", 2), entry("twice", 1), entry("twice", 1),
        entry("albums", 0), entry("albums", 1, album_id="other"), entry("late", 1), entry("late", 2),
    )  # fmt: skip
    stories = read(path)
    assert [story.id for story in stories if isinstance(story, Story)] == ["good", "late"]
    found = [story for story in stories if isinstance(story, Rejected)]
    assert [(story.where.removeprefix(f"{path.name} "), story.code) for story in found] == [
        *[(f"annotation {number}", "bad_annotation") for number in range(1, 5)],
        ("story gap", "bad_order"), ("story twice", "bad_order"), ("story albums", "two_albums"),
    ]  # fmt: skip


def test_invalid_sources_are_one_line(tmp_path: Path) -> None:
    assert "story-in-sequence.json" in problem(None)
    assert "no such file or folder" in problem(tmp_path / "none")
    assert "holds none of" in problem(tmp_path)
    path = write(tmp_path, "train", entry("1", 0), photos=False)
    assert "--set dataset.images=FOLDER" in problem(path)
    assert "no such folder" in problem(path, images=tmp_path / "none")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"images": []}', b'{"annotations": 3}', b"\xff", b"[" * 10**5])
def test_invalid_vist_files_are_one_line(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path, "train", entry("1", 0))
    path.write_bytes(content)
    assert "not VIST's annotations" in problem(path)


def test_describe_names_the_source(tmp_path: Path) -> None:
    path = write(tmp_path / "vist", "train", entry("1", 0))
    assert build(VistOptions()).describe(str(path)) == {"source": path.name}
    write(tmp_path / "vist", "test", entry("2", 0))
    assert build(VistOptions()).describe(str(tmp_path / "vist")) == {"source": "vist"}
