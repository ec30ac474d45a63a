"""How images become square and stories fall into splits, as it is typed."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def stories(write_story, tmp_path):
    for number in range(1, 9):
        write_story(tmp_path / f"mine/{number}", 5, size=(64, 32))
    return tmp_path / "mine"


def draw_noise(stories):
    """Replace the images, which are of one colour each and thus all alike, which would be a leak."""
    noise = np.random.default_rng(0)
    for path in stories.rglob("*.jpg"):
        Image.fromarray(noise.integers(0, 256, (4, 8, 3), dtype=np.uint8)).resize((64, 32)).save(path)


def test_the_flags_reach_the_prepared_data(vsr, place, stories, tmp_path):
    rows = [f"{number},{'odd' if number % 2 else 'even'}" for number in range(1, 8)]
    (tmp_path / "groups.csv").write_text("\n".join(["story,group", *rows]))
    line = f"prepare {stories} --preset tiny --out {tmp_path / 'out'} --json"
    answer = vsr(f"{line} --resize letterbox --split group --groups {tmp_path / 'groups.csv'}")
    assert answer.code == 0, answer.err
    said = json.loads(answer.out)
    assert (said["data"]["resize"], said["data"]["split"]) == ("letterbox", "group")
    assert said["data"]["group_csv"] == str(tmp_path / "groups.csv")
    assert said["counts"]["groups"] == 3
    assert said["counts"]["problems"] == {"no_group": 1}
    assert sorted(said["counts"]["stories_kept"].values()) == [1, 3, 4]


def test_stories_that_a_split_file_leaves_out_are_counted(vsr, place, stories, tmp_path):
    (tmp_path / "splits.csv").write_text("story,split\n1,test\n2,train\n3,train\n")
    files = f"--split file --set data.split_file={tmp_path / 'splits.csv'}"
    answer = vsr(f"prepare {stories} --preset tiny --out {tmp_path / 'out'} --json {files}")
    assert answer.code == 0, answer.err
    counts = json.loads(answer.out)["counts"]
    assert counts["stories_kept"] == {"train": 2, "validation": 0, "test": 1}
    assert counts["stories_dropped"] == {"not_in_split_file": 5}


def test_a_run_is_not_scored_on_pictures_that_were_fitted_otherwise(vsr, place, stories, tmp_path):
    out = tmp_path / "out"
    assert vsr(f"prepare {stories} --preset tiny --resize crop --out {out}").code == 0
    answer = vsr(f"evaluate --data {out} --metrics mse")
    assert answer.code == 2
    (error,) = answer.errors
    assert "by crop" in error
    assert "prepare it with --resize stretch" in error


@pytest.mark.parametrize("resize", ["letterbox", "crop"])
def test_a_run_scores_and_predicts_as_its_pictures_were_fitted(vsr, place, stories, tmp_path, resize):
    draw_noise(stories)
    out, run = tmp_path / "out", tmp_path / "run"
    made = vsr(f"prepare {stories} --preset tiny --resize {resize} --split block --out {out}")
    assert made.code == 0, made.err
    trained = vsr(f"train --data {out} --out {run}")
    assert trained.code == 0, trained.err
    scored = vsr(f"evaluate --run {run} --metrics mse --json")
    assert scored.code == 0, scored.err
    assert f"|resize:{resize}|" in json.loads(scored.out)["signature"]
    assert "|splitby:block|" in json.loads(scored.out)["signature"]
    assert vsr(f"predict {stories / '1'} --run {run}").code == 0


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("--resize squash", "'letterbox', 'crop'; it is now called stretch"),
        ("--resize stretched", "did you mean stretch?"),
        ("--split blocks", "'block'"),
        ("--split file", "data.split_file"),
        ("--split official", "the source has no splits"),
        ("--groups nowhere.csv", "nowhere.csv"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_data(vsr, place, stories, tmp_path, line, part):
    answer = vsr(f"prepare {stories} --preset tiny --out {tmp_path / 'out'} {line}")
    assert answer.code == 2
    (error,) = answer.errors
    assert part in error
    assert not list(tmp_path.glob("out/**/windows.arrow"))


@pytest.mark.parametrize(
    ("line", "names"),
    [("--resize ", ["stretch", "letterbox", "crop"]), ("--split b", ["block"]), ("--split t", ["train", "test"])],
)
def test_the_shell_completes_what_they_take(vsr, empty, monkeypatch, line, names):
    words = f"vsr prepare {line}"
    monkeypatch.setenv("_VSR_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
    assert set(vsr("").out.split()) == set(names)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "prepare --limit 2000",
            "storyworld: holds 14 stories, fewer than the limit of 2000; --set dataset.stories=2000 makes as many",
        ),
        ("prepare mine --preset tiny --limit 9", "folder: holds 3 stories, fewer than the limit of 9"),
        ("prepare mine.jsonl --preset tiny --limit 9", "jsonl: holds 3 stories, fewer than the limit of 9"),
        ("prepare mine --preset tiny --limit 2", None),
        ("prepare mine --preset tiny --limit 0", None),
    ],
)
def test_a_limit_above_all_there_is_is_said_to_be(place, vsr, write_story, tmp_path, monkeypatch, line, said):
    monkeypatch.chdir(tmp_path)
    lines = []
    for number in range(3):
        write_story(tmp_path / f"mine/{number}", 5)
        frames = [{"image": f"mine/{number}/{k}.jpg", "text": f"Ana {k}."} for k in range(1, 6)]
        lines.append(json.dumps({"id": str(number), "frames": frames}) + "\n")
    (tmp_path / "mine.jsonl").write_text("".join(lines))
    answer = vsr(f"{line} --out out")
    assert answer.code == 0, answer.err
    assert (said in answer.err) if said else ("fewer than the limit" not in answer.err)


def test_stories_are_prepared_for_a_run_as_its_own_were(vsr, place, stories, tmp_path):
    run = next(Path("runs").iterdir())
    draw_noise(stories)
    answer = vsr(f"prepare {stories} --run {run}")
    assert answer.code == 0, answer.err
    folder = Path("data") / f"mine-{run.name}"
    assert answer.err.splitlines()[-1].endswith(f"next: vsr evaluate --run {run} --data {folder}")
    manifest, config = (json.loads((each).read_text()) for each in (folder / "manifest.json", run / "config.json"))
    assert manifest["counts"]["windows_kept"] == {"train": 0, "validation": 0, "test": 8}
    for section in ("visual", "text"):
        assert manifest[section] == config[section]
    same = ("image_size", "resize", "context_frames", "window", "short_stories", "markup")
    assert [manifest["data"][name] for name in same] == [config["data"][name] for name in same]
    scored = vsr(f"evaluate --run {run} --data {folder} --metrics mse --json")
    assert scored.code == 0, scored.err
    assert json.loads(scored.out)["windows"] == 8
    shutil.rmtree(folder)
    shutil.rmtree(run / "evaluations")


def test_options_that_a_run_decides_are_refused_beside_it(vsr, place, stories, tmp_path):
    run, out = next(Path("runs").iterdir()), tmp_path / "out"
    options = "--split group --resize crop --visual tiny-cnn --preset tiny --set data.window=last --set text.length=9"
    answer = vsr(f"prepare {stories} --run {run} {options} --out {out}")
    assert (answer.code, len(answer.errors), out.exists()) == (2, 6, False)
    assert all("leave this out" in error for error in answer.errors)
    answer = vsr(f"prepare {stories} --run {run} --out {json.loads((run / 'run.json').read_text())['data']}")
    assert answer.code == 2
    assert "was trained on" in answer.errors[0]
    allowed = f"--limit 2 --set dataset.shuffle=1 --out {out}"
    assert "dataset has no option 'shuffle'" in vsr(f"prepare {stories} --run {run} {allowed}").errors[0]


def test_stories_of_the_test_split_alone_are_for_the_evaluation_of_a_run(vsr, place, stories, tmp_path):
    answer = vsr(f"prepare {stories} --preset tiny --split test --out {tmp_path / 'out'}")
    assert answer.err.splitlines()[-1].endswith(f"next: vsr evaluate --run RUN --data {tmp_path / 'out'}")
