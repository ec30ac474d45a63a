"""Invalid input is one error line and exit code 2, without a traceback or a partial file."""

import errno
import json
import os
from pathlib import Path

import pytest
from PIL import Image

from vsr_cli.runs.run import Run

from ..folders import names_in

SETTINGS_MISTAKES = [
    ("--visual tiny-cn", "did you mean tiny-cnn?"),
    ("--set training.device=cudax", "'cuda'"),
    ("--set training.seed=-1 --out q", "input should be between 0 and 4294967295"),
    ("--set training.seed=4294967296 --dry-run", "input should be between 0 and 4294967295"),
    ("--set training.learning_rate=inf --out q", "input should be a finite number"),
    ("--set training.epochs=1e400 --out q", "training.epochs"),
    ("--set dataset.stories=3", "this command does not use it"),
]


@pytest.mark.parametrize(("words", "part"), SETTINGS_MISTAKES)
def test_invalid_setting_is_one_line_and_writes_nothing(vsr, empty, words, part):
    answer = vsr(f"train {words}")
    assert answer.code == 2
    assert not answer.out
    (error,) = answer.errors
    assert part in error
    assert names_in(empty) == []


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("evaluate --metrics bleu --set metrics.bleu.smoothe=none", "did you mean smooth?"),
        ("evaluate --metrics bleu --set metrics.rouge.stemmer=false", "metrics.rouge"),
        ("evaluate --split tst", "did you mean test?"),
        ("evaluate --run data/storyworld", "not a run"),
        ("evaluate --data nowhere", "vsr prepare"),
        ("evaluate --data runs", "vsr prepare"),
        ("train --data nowhere", "vsr prepare"),
        ("train --data runs", "vsr prepare"),
        ("predict data", "01.jpg and 01.txt"),
        ("predict ''", "it is empty; name a path"),
        ("prepare '' --out elsewhere", "it is empty; name a path"),
        ("report --out ''", "it is empty; name a path"),
        ("report --out /", "name one such as /runs.html"),
        ("predict data/storyworld/manifest.json", "is not a folder"),
        ("prepare data --preset tiny --out elsewhere", "01.jpg and 01.txt"),
        ("cache prune --unused-days nan", "--unused-days"),
        ("cache prune --to inf", "inf is not a finite number"),
        ("ablate --temporal gru lstm --max-minutes inf --out elsewhere", "inf is not a finite number"),
        ("ablate --temporal gru lstm --seeds 1000000000 --out elsewhere", "--seeds"),
        ("prepare --limit -1 --out elsewhere", "--limit -1"),
        ("prepare --set data.validation=0.5 --set data.test=0.5 --out elsewhere", "leave no story to train on"),
    ],
)
def test_missing_or_wrong_argument_is_one_line(vsr, workspace, line, part):
    before = names_in(workspace)
    answer = vsr(line)
    assert answer.code == 2
    assert not answer.out
    (error,) = answer.errors
    assert part in error
    assert names_in(workspace) == before


def test_predict_without_a_run_suggests_train(vsr, empty, write_story):
    answer = vsr(f"predict {write_story(empty / 'story', 4)}")
    assert answer.code == 2
    assert "vsr train" in answer.errors[0]


def cut_image(story: Path) -> str:
    (story / "3.jpg").write_bytes((story / "3.jpg").read_bytes()[:300])
    return "3.jpg"


def no_image(story: Path) -> str:
    (story / "3.jpg").write_text("<html>not found</html>")
    return "3.jpg"


def empty_text(story: Path) -> str:
    (story / "2.txt").write_text("\n")
    return "2.txt"


def wrong_encoding(story: Path) -> str:
    (story / "2.txt").write_bytes("café".encode("latin-1"))
    return "UTF-8"


def no_text(story: Path) -> str:
    (story / "4.txt").unlink()
    return "4 has no text"


def no_pairs(story: Path) -> str:
    for text in story.glob("*.txt"):
        text.unlink()
    return "01.jpg and 01.txt"


def broken_json(story: Path) -> str:
    (story / "story.json").write_text('{"frames": [')
    return "story.json"


DEFECTS = [cut_image, no_image, empty_text, wrong_encoding, no_text, no_pairs, broken_json]


@pytest.mark.parametrize("spoil", DEFECTS)
def test_predict_skips_an_invalid_story(vsr, workspace, write_story, tmp_path, spoil):
    bad, good = write_story(tmp_path / "bad", 4), write_story(tmp_path / "good", 4)
    part = spoil(bad)
    answer = vsr(f"predict {bad} {good} --json --out {tmp_path / 'out'}")
    assert answer.code == 2
    (error,) = answer.errors
    assert part in error
    assert "bad" in error
    (record,) = map(json.loads, answer.out.splitlines())
    assert record["story"] == "good"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good"]


@pytest.mark.parametrize("spoil", DEFECTS)
def test_prepare_without_valid_story_writes_nothing(vsr, workspace, write_story, tmp_path, spoil):
    spoil(write_story(tmp_path / "mine/story", 5))
    answer = vsr(f"prepare {tmp_path / 'mine'} --preset tiny --out {tmp_path / 'out/data'}")
    assert answer.code == 2
    assert len(answer.errors) == 1
    assert not (tmp_path / "out").exists()


def test_other_files_are_not_overwritten(vsr, workspace, tmp_path):
    mine = tmp_path / "thesis"
    mine.mkdir()
    (mine / "chapter.txt").write_text("years of work")
    for line in (f"prepare --out {mine}", f"train --out {mine}", f"train --out {mine / 'chapter.txt'}"):
        answer = vsr(line)
        assert answer.code == 2
        assert "nothing is overwritten" in answer.errors[0]
    assert names_in(mine) == ["chapter.txt"]
    assert (mine / "chapter.txt").read_text() == "years of work"


@pytest.mark.parametrize("line", ["prepare --out {}/file/x", "train --out {}/file/x", "predict {}/story --out {}/file"])
def test_invalid_out_is_one_line(vsr, workspace, write_story, tmp_path, line):
    write_story(tmp_path / "story", 4)
    (tmp_path / "file").write_text("a file")
    answer = vsr(line.replace("{}", str(tmp_path)))
    assert answer.code == 2
    (error,) = answer.errors
    assert str(tmp_path / "file") in error


def test_full_disk_while_predicting_leaves_no_partial_image(vsr, workspace, write_story, tmp_path, monkeypatch):
    def full(self: Image.Image, path: Path, **_: object) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    story = write_story(tmp_path / "story", 4)
    monkeypatch.setattr(Image.Image, "save", full)
    answer = vsr(f"predict {story} --out {tmp_path / 'out'}")
    assert answer.code == 2
    (error,) = answer.errors
    assert "free some space" in error
    assert not (tmp_path / "out").exists()


def test_full_disk_while_training_marks_the_run_failed(vsr, workspace, tmp_path, monkeypatch):
    def full(self: Run, row: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.history))

    monkeypatch.setattr(Run, "append_history", full)
    answer = vsr(f"train --out {tmp_path / 'run'}")
    assert answer.code == 2
    (error,) = answer.errors
    assert "history.jsonl" in error
    assert "free some space" in error
    assert json.loads((tmp_path / "run/run.json").read_text())["status"] == "failed"
    refused = vsr(f"evaluate --run {tmp_path / 'run'}")
    assert refused.code == 2
    assert "not finished" in refused.errors[0]
