"""`vsr data lint`, `stats`, `show` and `verify`."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from PIL import Image

from ...folders import names_in

PROBLEM_KEYS = ["code", "severity", "story", "frame", "detail"]


@pytest.fixture
def stories(empty, write_story, monkeypatch):
    """Three story folders in the present folder, the second of them with a damaged image and an empty text."""
    (empty / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(empty / "temporary"))
    for number, pairs in enumerate((6, 9, 5)):
        write_story(empty / f"mine/story-{number}", pairs)
    (empty / "mine/story-1/3.jpg").write_bytes((empty / "mine/story-1/3.jpg").read_bytes()[:200])
    (empty / "mine/story-1/9.txt").write_text(" \n")
    return empty


@pytest.fixture
def prepared(stories, vsr):
    answer = vsr("prepare mine --preset tiny --split train --set data.image_size=32 --window sliding --out data/mine")
    assert answer.code == 0, answer.err
    return stories / "data/mine"


def test_lint_lists_problems_and_exits_with_1(vsr, stories):
    before = names_in(stories)
    answer = vsr("data lint mine --split train --json")
    assert answer.code == 1
    record = json.loads(answer.out)
    assert list(record) == ["source", "errors", "warnings", "notes", "problems"]
    assert record["source"] == "mine"
    assert all(list(problem) == PROBLEM_KEYS for problem in record["problems"])
    found = {(problem["code"], problem["severity"], problem["frame"]) for problem in record["problems"]}
    assert found == {
        ("truncated_image", "error", 2),
        ("empty_text", "error", 8),
        ("windows_dropped", "note", None),
    }
    assert (record["errors"], record["warnings"], record["notes"]) == (2, 0, 1)
    assert names_in(stories) == before


def test_lint_of_valid_stories_exits_with_0(vsr, empty, write_story):
    write_story(empty / "mine/only", 7)
    answer = vsr("data lint mine")
    assert answer.code == 0
    assert answer.out == "mine: 0 errors, 0 warnings, 0 notes\n"


def test_lint_with_only_warnings_exits_with_0(vsr, empty, write_story):
    for number in range(3):
        write_story(empty / f"mine/{number}", 6)
    answer = vsr("data lint mine --json")
    record = json.loads(answer.out)
    assert "duplicate_across_splits" in {problem["code"] for problem in record["problems"]}
    assert (answer.code, record["errors"]) == (0, 0)


def test_lint_shows_three_examples_per_code_or_all(vsr, empty, write_story):
    for number in range(5):
        write_story(empty / f"mine/{number}", 2)
    few, every = vsr("data lint mine"), vsr("data lint mine --all")
    assert few.code == every.code == 1
    assert "mine: 5 errors, 0 warnings, 0 notes" in few.out
    assert few.out.count("with its 2 frames") == 3
    assert "and 2 more; --all shows them" in few.out
    assert every.out.count("with its 2 frames") == 5
    assert "more" not in every.out
    # What it is and what to do, once.
    assert few.out.count("add frames, or use --short-stories pad") == 1


def test_lint_shows_frames_counted_from_one(vsr, stories):
    out = vsr("data lint mine --split train").out
    assert "story-1, frame 3: " in out
    assert "story-1, frame 9: " in out


def test_lint_of_newest_prepared_data_equals_lint_of_source(vsr, prepared):
    raw = json.loads(vsr("data lint mine --split train --json").out)
    answer = vsr("data lint --json")
    assert answer.code == 1
    assert "newest prepared data: data/mine" in answer.err
    assert json.loads(answer.out)["problems"] == raw["problems"]


def test_lint_applies_prepare_options_to_a_source(vsr, stories):
    (stories / "groups.csv").write_text("story,group\nstory-0,a\nstory-1,a\n")
    limited = json.loads(vsr("data lint mine --limit 1 --json").out)
    assert limited["problems"] == []
    # The same images in each story, so two splits have each of them.
    assert "duplicate_across_splits" in vsr("data lint mine").out
    grouped = vsr("data lint mine --groups groups.csv --split train --json")
    assert "no_group" in {problem["code"] for problem in json.loads(grouped.out)["problems"]}
    padded = vsr("data lint mine --split train --set data.image_size=32 --set dataset.nonsense=1")
    assert padded.code == 2
    assert "nonsense" in padded.errors[0]


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("data lint", "nothing is prepared under data/"),
        ("data stats", "nothing is prepared under data/"),
        ("data show story-1", "nothing is prepared under data/"),
        ("data lint nowhere", "nowhere: there is no such folder"),
        ("data lint mine --dataset foldr", "did you mean folder?"),
        ("data lint mine --split middle", "'middle' is not one of"),
        ("data stats mine --out mine.txt", "ends in .png"),
        ("data stats mine --tokenizer mine", "no such file"),
        ("data stats mine --tokenizer mine/story-1/1.txt", "not a tokenizer.json"),
        ("data show story-1 --data mine", "vsr prepare"),
        ("data show story-1 --data mine --out a.jpg", "ends in .png"),
    ],
)
def test_invalid_arguments_are_one_line_and_write_nothing(vsr, stories, line, part):
    before = names_in(stories)
    answer = vsr(line)
    assert answer.code == 2
    assert not answer.out
    (error,) = answer.errors
    assert part in error
    assert names_in(stories) == before


def test_prepare_options_are_refused_for_prepared_data(vsr, prepared):
    for line in ("data lint data/mine --limit 3", "data stats --split test", "data lint --set data.seed=1"):
        answer = vsr(line)
        assert answer.code == 2
        assert "is prepared" in answer.errors[0]


def test_unknown_story_is_one_line(vsr, prepared):
    answer = vsr("data show story-11")
    assert answer.code == 2
    assert "did you mean story-1" in answer.errors[0]


def test_lint_of_a_source_without_valid_story(vsr, empty, write_story):
    write_story(empty / "mine/short", 3)
    answer = vsr("data lint mine --json")
    assert answer.code == 1
    (problem,) = json.loads(answer.out)["problems"]
    assert problem["code"] == "story_too_short"
    assert "no story is left" in vsr("data stats mine").errors[0]


def test_stats_image_is_written_into_prepared_data(vsr, prepared):
    answer = vsr("data stats --json")
    assert answer.code == 0, answer.err
    record = json.loads(answer.out)
    assert list(record) == ["source", "tokens", "splits", "picture"]
    assert list(record["splits"]) == ["train", "validation", "test", "all"]
    assert record["splits"]["train"]["stories"] == 3
    assert record["splits"]["train"]["copy_last"].keys() == {"windows", "bleu", "rouge"}
    assert record["picture"] == "data/mine/statistics.png"
    Image.open(record["picture"]).load()
    assert vsr("data stats").code == 0


def test_stats_table_names_what_was_counted(vsr, prepared):
    out = vsr("data stats data/mine").out
    assert "words and punctuation marks" in out
    assert "image: data/mine/statistics.png" in out
    for what in (
        "frames per story",
        "texts over 64 tokens",
        "words not in train",
        "most common size",
        "copy-last BLEU",
    ):
        assert what in out
    assert "48x32 (100%)" in out


def test_stats_of_a_source_overwrite_nothing(vsr, stories):
    first = vsr("data stats mine --split train --json")
    assert first.code == 0, first.err
    assert json.loads(first.out)["picture"] == "mine-statistics.png"
    before = (stories / "mine-statistics.png").read_bytes()
    again = vsr("data stats mine --split train")
    assert again.code == 2
    assert "nothing is overwritten" in again.errors[0]
    assert (stories / "mine-statistics.png").read_bytes() == before
    named = vsr("data stats mine --split train --out pictures/mine.png")
    assert named.code == 0
    assert (stories / "pictures/mine.png").is_file()
    assert names_in(stories / "temporary") == []


def test_show_writes_an_image_and_prints_its_path(vsr, prepared):
    answer = vsr("data show story-1")
    assert answer.out == "data/mine/show/story-1.png\n"
    assert names_in(prepared / "show") == ["story-1.png"]
    Image.open(prepared / "show/story-1.png").load()


def test_show_json_has_texts_and_image_files(vsr, prepared):
    answer = vsr("data show story-1 --json --out seen/one.png")
    assert answer.code == 0, answer.err
    record = json.loads(answer.out)
    assert list(record) == ["story", "picture", "frames"]
    assert (record["story"], record["picture"]) == ("story-1", "seen/one.png")
    assert len(record["frames"]) == 9
    assert record["frames"][0] == {"text": "Ana finds thing number 1.", "entities": [], "image": "seen/one-01.png"}
    assert record["frames"][2]["image"] is None
    assert record["frames"][8]["text"] is None
    assert Image.open("seen/one-01.png").size == (48, 32)
    numbers = (1, 2, 4, 5, 6, 7, 8, 9)  # the third could not be read
    assert names_in(Path("seen")) == [*(f"one-0{number}.png" for number in numbers), "one.png"]


def test_show_json_has_entities(vsr, empty):
    made = vsr("prepare --dataset storyworld --limit 3 --set data.image_size=32 --split train --out data/world")
    assert made.code == 0, made.err
    record = json.loads(vsr("data show storyworld-0-00000 --json").out)
    entities = record["frames"][0]["entities"]
    assert entities
    assert list(entities[0]) == ["kind", "ids", "start", "end", "text"]
    for entity in entities:
        assert record["frames"][0]["text"][entity["start"] : entity["end"]] == entity["text"]


def test_story_name_cannot_leave_the_folder(vsr, empty, write_story):
    story = write_story(empty / "mine/evil", 5)
    frames = [{"image": f"{number}.jpg", "text": f"Number {number}."} for number in range(1, 6)]
    (story / "story.json").write_text(json.dumps({"id": "../../evil", "frames": frames}))
    assert vsr("prepare mine --preset tiny --set data.image_size=32 --out data/mine").code == 0
    before = {*names_in(empty)}
    assert vsr("data show ../../evil").out == "data/mine/show/evil.png\n"
    assert {*names_in(empty)} - before == {"data/mine/show", "data/mine/show/evil.png"}


def test_lint_imports_no_torch(stories):
    code = """
import sys
sys.argv = ["vsr", "data", "lint", "mine"]
from vsr_cli.cli.main import main
try:
    main()
except SystemExit:
    pass
print("HEAVY", sorted({"torch", "transformers", "matplotlib"} & sys.modules.keys()), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=False)
    assert "HEAVY []" in done.stderr


def test_verify_lists_damaged_files_of_data_and_runs(workspace, vsr, tmp_path):
    (run,) = (workspace / "runs").iterdir()
    sound = vsr("data verify"), vsr("runs verify")
    assert [answer.code for answer in sound] == [0, 0]
    assert all("none damaged" in answer.err for answer in sound)
    data = Path(shutil.copytree(workspace / "data/storyworld", tmp_path / "data"))
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    for folder, command, pattern in (
        (data, "data", "chunks/*.jsonl"),
        (copy, "runs", "checkpoints/*/model.safetensors"),
    ):
        paths = sorted(folder.glob(pattern))
        for path in paths:
            path.write_bytes(path.read_bytes()[:-3])
        answer = vsr(f"{command} verify {folder} --json")
        assert answer.code == 1
        found = json.loads(answer.out)
        assert found["checked"] > len(found["damaged"]) == len(paths)
        assert all(any(str(path) in line for line in found["damaged"]) for path in paths)
