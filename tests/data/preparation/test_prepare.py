"""Preparing stories: counts, windows, splits, resuming and reuse."""

import json
from dataclasses import replace

import numpy as np
import pytest

from vsr_cli.api import Entity, Frame, Note, Rejected, Story, Survey, VsrError
from vsr_cli.data.images import read_image
from vsr_cli.data.manifest import newest_prepared
from vsr_cli.data.preparation import arrow
from vsr_cli.data.preparation.chunks import Share
from vsr_cli.data.preparation.prepare import prepare_stories
from vsr_cli.data.prepared import open_prepared

from ...folders import contents
from ...memory_dataset import MemoryDataset, noise_png, prepare_config_of, with_frame

SIZE = 16


def story(name, count=5, **facts):
    frames = tuple(
        Frame(image=noise_png(*f"{name}/{index}".encode()), text=f"{name}, frame {index}.") for index in range(count)
    )
    return Story(id=name, frames=frames, **facts)


def config(*assignments):
    return prepare_config_of([f"data.image_size={SIZE}", *assignments])


def prepare(out, *stories, options=()):
    return prepared_with_work(out, *stories, options=options)[0]


def prepared_with_work(out, *stories, options=()):
    return prepare_stories(config(*options), MemoryDataset(*stories), None, out)


def problems(prepared):
    return [json.loads(line) for line in (prepared.tables / "problems.jsonl").read_text().splitlines()]


def picture(encoded):
    return read_image(encoded, where="test", size=SIZE, resize="stretch").pixels


def test_stories_windows_and_frames_are_counted(tmp_path):
    prepared = prepare(tmp_path / "out", story("a", 7), story("b"), story("c"), options=["data.window=sliding"])
    counts = prepared.manifest["counts"]
    assert counts["stories_read"] == 3
    assert sum(counts["stories_kept"].values()) == 3
    assert sum(counts["windows_kept"].values()) == 5
    assert counts["stories_dropped"] == counts["windows_dropped"] == counts["problems"] == {}
    assert (counts["groups"], counts["frames"], counts["windows_padded"]) == (3, 17, 0)
    assert prepared.manifest["source"] == {"source": "memory"}
    assert open_prepared(prepared.folder).manifest == prepared.manifest


def test_dropped_stories_are_counted_by_reason(tmp_path):
    prepared = prepare(
        tmp_path / "out",
        story("good"),
        story("short", 4),
        Rejected(where="stories/x", code="no_frames", detail="there is nothing in it"),
        with_frame(story("no text"), 2, text=None),
        with_frame(story("blank text"), 2, text="  \n "),
        with_frame(story("no image"), 0, image=None),
        with_frame(story("bad image"), 4, image=b"this is no picture"),
        with_frame(story("cut image"), 1, image=noise_png(1, size=(200, 200))[:-4000]),
        with_frame(story("lost image"), 1, image=tmp_path / "nowhere.png"),
        story("good"),
        story("also good"),
    )
    counts = prepared.manifest["counts"]
    assert counts["stories_read"] == 11
    assert sum(counts["stories_kept"].values()) == 2
    assert counts["stories_dropped"] == {
        "story_too_short": 1,
        "no_frames": 1,
        "missing_text": 2,
        "missing_image": 2,
        "unreadable_image": 1,
        "truncated_image": 1,
        "duplicate_story_id": 1,
    }
    assert sum(counts["stories_dropped"].values()) + sum(counts["stories_kept"].values()) == counts["stories_read"]
    found = problems(prepared)
    assert {item["story"] for item in found} >= {"stories/x", "bad image", "cut image", "lost image", "good"}
    assert all(set(item) == {"story", "frame", "code", "detail"} for item in found)
    assert next(item for item in found if item["story"] == "bad image")["frame"] == 4
    assert sum(counts["problems"].values()) == len(found)


def test_only_windows_with_an_invalid_frame_are_dropped(tmp_path):
    source = with_frame(story("a", 11), 2, text=None)
    prepared = prepare(tmp_path / "out", source, options=["data.window=sliding"])
    assert prepared.manifest["counts"]["windows_dropped"] == {"missing_text": 3}
    assert prepared.windows("train").starts.tolist() == [3, 4, 5, 6]
    assert prepared.manifest["counts"]["frames"] == 11


def test_notes_of_the_dataset_are_stored(tmp_path):
    source = story("a", notes=(Note(code="mismatched_close", detail="a tag closed by another", frame=3),))
    prepared = prepare(tmp_path / "out", source)
    assert problems(prepared) == [
        {"story": "a", "frame": 3, "code": "mismatched_close", "detail": "a tag closed by another"}
    ]


def test_the_limit_counts_stories_that_are_read(tmp_path):
    prepared = prepare(tmp_path / "out", story("a", 2), story("b"), story("c"), options=["data.limit=2"])
    assert prepared.manifest["counts"]["stories_read"] == 2
    assert sum(prepared.manifest["counts"]["stories_kept"].values()) == 1


def test_identical_images_and_texts_are_stored_once(tmp_path):
    one = Frame(image=noise_png(1), text="The same words.")
    other = Frame(image=noise_png(2), text="Other words.")
    prepared = prepare(tmp_path / "out", Story(id="a", frames=(one, other, one, one, other)), story("b"))
    counts = prepared.manifest["counts"]
    assert (counts["frames"], counts["images"], counts["texts"]) == (10, 7, 7)
    windows = prepared.windows("train") if "a" in prepared.windows("train").stories else prepared.windows("test")
    row = list(windows.stories).index("a")
    for rows in (windows.image_rows[row], windows.text_rows[row]):
        assert rows[0] == rows[2] == rows[3]
        assert rows[1] == rows[4] != rows[0]
    assert not windows.repeated.any()  # a frame that looks like another is no filler


def test_repeated_texts_keep_image_and_text_rows_aligned(tmp_path, monkeypatch):
    monkeypatch.setattr(arrow, "ROWS_A_BATCH", 3)
    source = [story("a", 6), with_frame(story("b", 7), 1, image=None), with_frame(story("c", 9), 0, text="a, frame 0.")]
    source = [with_frame(source[0], 5, text=None), source[1], with_frame(source[2], 4, image=source[0].frames[1].image)]
    prepared = prepare(tmp_path / "out", *source, options=["data.window=sliding"])
    frames, by_name = prepared.frames, {item.id: item for item in source}
    seen = 0
    for split in ("train", "validation", "test"):
        windows = prepared.windows(split)
        images = frames.images.gather(windows.image_rows)
        for row, name in enumerate(windows.stories):
            start = int(windows.starts[row])
            for index in range(5):
                source = by_name[name].frames[start + index]
                assert frames.texts[windows.text_rows[row, index]] == source.text
                assert np.array_equal(images[row, index], picture(source.image))
                seen += 1
    assert seen == 5 * (1 + 1 + 5)
    assert len(frames.texts) == prepared.manifest["counts"]["texts"] == len(set(frames.texts))
    assert len(frames.images) == prepared.manifest["counts"]["images"] == len(prepared.image_facts.width)


def test_stored_sizes_are_those_of_the_source_images(tmp_path):
    source = with_frame(story("a"), 3, image=noise_png(9, size=(60, 20)))
    prepared = prepare(tmp_path / "out", with_frame(source, 0, image=noise_png(10, size=(10, 40))))
    rows = prepared.windows("train").image_rows[0]
    assert prepared.frames.images.gather(rows).shape == (5, SIZE, SIZE, 3)
    assert prepared.image_facts.width[rows].tolist() == [10, 24, 24, 60, 24]
    assert prepared.image_facts.height[rows].tolist() == [40, 12, 12, 20, 12]


def test_a_short_story_is_padded_on_demand_and_flagged(tmp_path):
    prepared = prepare(tmp_path / "out", story("a", 3), options=["data.short_stories=pad"])
    windows = prepared.windows("train")
    assert windows.repeated.tolist() == [[False, False, True, True, False]]
    assert windows.text_rows[0].tolist() == [0, 1, 1, 1, 2]
    assert prepared.manifest["counts"]["windows_padded"] == 1


def test_groups_and_official_splits_reach_the_windows(tmp_path):
    source = [story("a", split="test"), story("b", split="train", group="g"), story("c", split="train", group="g")]
    prepared = prepare(tmp_path / "out", *source, story("d", split="train", group="h"))
    assert prepared.windows("test").stories == ["a"]
    held, train = prepared.windows("validation").stories, prepared.windows("train").stories
    assert {tuple(held), tuple(train)} == {("b", "c"), ("d",)}
    assert prepared.manifest["counts"]["groups"] == 3


def test_a_split_without_a_story_has_no_windows(tmp_path):
    prepared = prepare(tmp_path / "out", story("a"), options=["data.validation=0", "data.test=0"])
    for split in ("validation", "test"):
        assert len(prepared.windows(split)) == 0
        assert prepared.windows(split).text_rows.shape == (0, 5)
    with pytest.raises(VsrError, match="did you mean validation"):
        prepared.windows("valid")


def test_entities_are_stored_with_their_text(tmp_path):
    mara = Entity(kind="o", ids=("char1",), start=0, end=4)
    source = with_frame(story("a"), 1, text="Mara waits.", entities=(mara,))
    assert prepare(tmp_path / "out", source).story("a").frames[1].entities == (mara,)


def test_dropped_stories_can_be_inspected(tmp_path):
    short = with_frame(story("short", 3, group="g", source_characters=99), 1, text=None)
    prepared = prepare(tmp_path / "out", story("a"), short, Rejected(where="x", code="no_frames", detail="none"))
    kept, dropped = prepared.stories()
    assert (kept.id, kept.split, kept.dropped, len(kept.frames)) == ("a", "train", None, 5)
    assert (dropped.id, dropped.split, dropped.dropped) == ("short", None, "story_too_short")
    assert (dropped.group, dropped.source_characters) == ("g", 99)
    assert [frame.problem for frame in dropped.frames] == [None, "missing_text", None]
    assert [frame.text for frame in dropped.frames] == ["short, frame 0.", None, "short, frame 2."]
    picture_row = dropped.frames[1].image_row
    assert np.array_equal(prepared.frames.images.gather(np.asarray([picture_row]))[0], picture(short.frames[1].image))
    assert prepared.story("short") == dropped
    with pytest.raises(VsrError, match="did you mean short"):
        prepared.story("shor")


def test_the_same_input_gives_the_same_fingerprint_and_files(tmp_path):
    source = [story("a", 8), with_frame(story("b", 6), 5, text=None), story("c")]
    first, second = prepare(tmp_path / "1", *source), prepare(tmp_path / "2", *source)
    assert first.fingerprint == second.fingerprint
    assert contents(first.folder) == contents(second.folder)


@pytest.mark.parametrize(
    "other",
    [
        lambda source: [with_frame(source[0], 2, text="Other words."), source[1]],
        lambda source: [with_frame(source[0], 2, image=noise_png(77)), source[1]],
        lambda source: [source[0]],
        lambda source: [replace(source[0], split="test"), source[1]],
    ],
    ids=["text", "image", "stories", "split"],
)
def test_other_input_gives_another_fingerprint(tmp_path, other):
    source = [story("a"), story("b")]
    options = ["data.test=0", "data.validation=0"]
    before = prepare(tmp_path / "1", *source, options=options)
    assert prepare(tmp_path / "2", *other(source), options=options).fingerprint != before.fingerprint


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ((), "holds no story"),
        ((story("a", 3), with_frame(story("b"), 0, text=None)), "1 story_too_short, 1 missing_text"),
    ],
    ids=["nothing", "nothing good"],
)
def test_prepare_without_windows_writes_nothing(tmp_path, source, words):
    with pytest.raises(VsrError, match=words) as raised:
        prepare(tmp_path / "out", *source)
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("failure", [OSError("disk full"), KeyboardInterrupt(), VsrError("broken source")])
def test_failure_keeps_the_previous_data(tmp_path, failure):
    old = prepare(tmp_path / "out", story("a"), story("b"))
    before = contents(old.folder)
    with pytest.raises(type(failure)):
        prepare(old.folder, *many(12), failure)
    after = contents(old.folder)
    assert {name: after[name] for name in before} == before
    assert open_prepared(old.folder).frames.texts[0] == "a, frame 0."


def many(count):
    return [story(f"story {number}") for number in range(count)]


@pytest.mark.parametrize("failure", [OSError("disk full"), KeyboardInterrupt(), VsrError("the line was cut")])
def test_prepare_resumes_after_a_failure(tmp_path, failure):
    source = many(40)
    whole = prepare(tmp_path / "whole", *source)
    with pytest.raises(type(failure)):
        prepare(tmp_path / "out", *source[:30], failure)
    with pytest.raises(VsrError, match="run the same 'vsr prepare' again"):
        open_prepared(tmp_path / "out")
    resumed, work = prepared_with_work(tmp_path / "out", *source)
    assert 0 < work.made < 40
    assert contents(resumed.folder) == contents(whole.folder)


def test_unchanged_stories_are_not_prepared_again(tmp_path):
    source = many(20)
    first, work = prepared_with_work(tmp_path / "out", *source)
    assert (work.stories, work.made, work.read, work.tables) == (20, 20, True, True)
    times = {path: path.stat().st_mtime_ns for path in first.folder.rglob("*") if path.name != "manifest.json"}
    again, work = prepared_with_work(tmp_path / "out", *source)
    assert (work.stories, work.made, work.tables) == (20, 0, False)
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert again.manifest == first.manifest


def test_changed_story_rewrites_only_its_chunk(tmp_path):
    source = many(40)
    prepare(tmp_path / "out", *source)
    source[17] = with_frame(source[17], 2, text="Other words.")
    del source[5]
    source.insert(30, story("a newcomer"))
    changed, work = prepared_with_work(tmp_path / "out", *source)
    assert 0 < work.made < 40
    assert contents(changed.folder) == contents(prepare(tmp_path / "afresh", *source).folder)


def test_other_windows_or_splits_rewrite_no_image(tmp_path):
    source = many(20)
    prepare(tmp_path / "out", *source)
    other, work = prepared_with_work(tmp_path / "out", *source, options=["data.window=sliding", "data.split=test"])
    assert (work.made, work.tables) == (0, True)
    assert len(other.windows("test")) == 20
    assert len(list(other.folder.glob("tables-*"))) == 1


def test_other_image_size_rewrites_images(tmp_path):
    prepare(tmp_path / "out", *many(4))
    other, work = prepared_with_work(tmp_path / "out", *many(4), options=["data.image_size=32"])
    assert work.made == 4
    assert other.frames.images.gather(np.asarray([0])).shape == (1, 32, 32, 3)
    assert len(list((other.folder / "chunks").glob("*.jsonl"))) == len(list((other.folder / "chunks").iterdir())) / 2


class Sealed(MemoryDataset):
    """A dataset that says when nothing has changed."""

    reads = 0
    state = "one"

    def read(self, source):
        self.reads += 1
        return super().read(source)

    def survey(self, source):
        return Survey(stories=len(self.stories), state=self.state)


def test_source_with_unchanged_state_is_not_read_again(tmp_path):
    sealed = Sealed(*many(12))
    first, _ = prepare_stories(config(), sealed, None, tmp_path / "out")
    again, work = prepare_stories(config(), sealed, None, tmp_path / "out")
    assert (sealed.reads, work.read, again.manifest) == (1, False, first.manifest)
    _, work = prepare_stories(config("data.window=sliding"), sealed, None, tmp_path / "out")
    assert (sealed.reads, work.tables) == (1, True)
    sealed.state = "two"
    prepare_stories(config(), sealed, None, tmp_path / "out")
    assert sealed.reads == 2
    next((tmp_path / "out" / "chunks").glob("*.safetensors")).write_bytes(b"damaged")
    mended, work = prepare_stories(config(), sealed, None, tmp_path / "out")
    assert (sealed.reads, work.read) == (3, True)
    assert 0 < work.made < 12
    assert contents(mended.folder) == contents(prepare_stories(config(), sealed, None, tmp_path / "new")[0].folder)


def test_merged_shards_equal_one_prepare(tmp_path):
    source = many(40)
    whole = prepare(tmp_path / "whole", *source)
    made = 0
    for index in range(3):
        nothing, work = prepare_stories(
            config(), MemoryDataset(*source), None, tmp_path / f"machine {index}", share=Share(index, 3)
        )
        assert nothing is None
        made += work.made
        for path in (tmp_path / f"machine {index}" / "chunks").iterdir():
            (tmp_path / "out" / "chunks").mkdir(parents=True, exist_ok=True)
            path.rename(tmp_path / "out" / "chunks" / path.name)
    assert made == 40
    (tmp_path / "machine 0" / "manifest.json").rename(tmp_path / "out" / "manifest.json")
    merged, work = prepared_with_work(tmp_path / "out", *source)
    assert (work.made, work.tables) == (0, True)
    assert contents(merged.folder) == contents(whole.folder)


def test_temporary_files_of_a_killed_prepare_are_removed(tmp_path):
    first = prepare(tmp_path / "out", *many(4))
    before = contents(first.folder)
    (first.folder / "chunks" / ".abc.jsonl.x1.jsonl").write_text("half")
    (first.folder / ".tables-abc.x1").mkdir()
    (first.folder / ".tables-abc.x1" / "frames.arrow").write_text("half")
    (first.folder / ".manifest.json.x1.json").write_text("{")
    assert contents(prepare(tmp_path / "out", *many(4)).folder) == before


def test_unfinished_data_is_not_the_newest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = prepare(tmp_path / "data" / "done", *many(4))
    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path / "data" / "begun", *many(20), KeyboardInterrupt())
    assert newest_prepared().resolve() == done.folder
    other = prepare(tmp_path / "data" / "other", *many(3))
    assert newest_prepared().resolve() == other.folder
    prepare(done.folder, *many(4))
    assert newest_prepared().resolve() == done.folder  # asked for last


@pytest.mark.parametrize("mine", ["out", "out/thesis.txt", "out/manifest.json"])
def test_other_folders_are_not_replaced(tmp_path, mine):
    out = tmp_path / "out"
    (tmp_path / mine).parent.mkdir(exist_ok=True)
    (tmp_path / mine).write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(VsrError, match="nothing is overwritten"):
        prepare(out, story("a"))
    assert contents(tmp_path) == before


def test_empty_folder_is_accepted(tmp_path):
    (tmp_path / "out").mkdir()
    assert len(prepare(tmp_path / "out", story("a")).windows("train")) == 1
