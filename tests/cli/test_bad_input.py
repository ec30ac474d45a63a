"""Mistakes end in one clear line each and exit code 2, with no traceback and no half-written file."""

import errno
import json
import os
from pathlib import Path

import pytest
from PIL import Image

from vsr_cli.runs.run import Run

SETTINGS_MISTAKES = [
    ("--temporal gruu", "did you mean gru?"),
    ("--visual tiny-cn", "did you mean tiny-cnn?"),
    ("--set temporal.layer=2", "did you mean layers?"),
    ("--set trainin.epochs=2", "did you mean training?"),
    ("--set training.epochs=many", "given: 'many'"),
    ("--set training.device=cudax", "'cuda'"),
    ("--epochs 0", "--epochs 0"),
    ("--set nonsense", "section.key=value"),
    ("--set training.seed=-1 --out q", "input should be between 0 and 4294967295"),
    ("--set training.seed=4294967296 --dry-run", "input should be between 0 and 4294967295"),
    ("--set training.learning_rate=inf --out q", "input should be a finite number"),
    ("--set training.epochs=1e400 --out q", "training.epochs"),
    ("--preset tny", "did you mean tiny?"),
    ("--config nowhere.toml", "no such file"),
    ("--set dataset.stories=3", "this command does not use it"),
]


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize(("words", "part"), SETTINGS_MISTAKES)
def test_a_mistake_in_the_settings_costs_no_waiting_and_writes_nothing(vsr, empty, words, part):
    answer = vsr(f"train {words}")
    assert answer.code == 2
    assert not answer.out
    (error,) = answer.errors
    assert part in error
    assert everything(empty) == []


def test_all_mistakes_are_told_at_once(vsr, empty):
    answer = vsr("train --temporal gruu --epochs 0 --set nonsense --set visual.sizes=3 --set nowhere.x=1")
    assert answer.code == 2
    assert len(answer.errors) == len(answer.err.splitlines()) == 5


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("evaluate --metrics blue", "did you mean bleu?"),
        ("evaluate --metrics bleu --set metrics.bleu.lowercas=false", "did you mean lowercase?"),
        ("evaluate --metrics bleu --set metrics.rouge.stemmer=false", "metrics.rouge"),
        ("evaluate --split tst", "did you mean test?"),
        ("evaluate --run nowhere", "--run nowhere: there is no such folder"),
        ("evaluate --run data/storyworld", "not a run"),
        ("evaluate --data nowhere", "vsr prepare"),
        ("evaluate --data runs", "vsr prepare"),
        ("train --data nowhere", "vsr prepare"),
        ("train --data runs", "vsr prepare"),
        ("predict nowhere", "there is no such folder"),
        ("predict data", "01.jpg and 01.txt"),
        ("predict data/storyworld/manifest.json", "is not a folder"),
        ("prepare nowhere --preset tiny", "nowhere: there is no such folder"),
        ("prepare data --preset tiny --out elsewhere", "01.jpg and 01.txt"),
        ("prepare --dataset foldr", "did you mean folder?"),
        ("prepare --window middle", "'sliding'"),
        ("plugins show gruu", "did you mean gru?"),
        ("cache prune --unused-days nan", "--unused-days"),
        ("cache prune --to inf", "inf is not a finite number"),
        ("ablate --temporal gru lstm --max-minutes inf --out elsewhere", "inf is not a finite number"),
        ("ablate --temporal gru lstm --seeds 1000000000 --out elsewhere", "--seeds"),
        ("prepare --limit -1 --out elsewhere", "--limit -1"),
        ("prepare --set data.validation=0.5 --set data.test=0.5 --out elsewhere", "leave no story to train on"),
    ],
)
def test_what_is_not_there_or_not_that_is_one_line(vsr, place, line, part):
    before = everything(place)
    answer = vsr(line)
    assert answer.code == 2
    assert not answer.out
    (error,) = answer.errors
    assert part in error
    assert everything(place) == before


def test_without_a_run_predict_says_how_to_get_one(vsr, empty, write_story):
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
def test_predict_names_what_is_wrong_with_a_story_and_still_does_the_others(vsr, place, write_story, tmp_path, spoil):
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
def test_prepare_without_one_good_story_is_an_error_and_leaves_nothing(vsr, place, write_story, tmp_path, spoil):
    spoil(write_story(tmp_path / "mine/story", 5))
    answer = vsr(f"prepare {tmp_path / 'mine'} --preset tiny --out {tmp_path / 'out/data'}")
    assert answer.code == 2
    assert len(answer.errors) == 1
    assert not (tmp_path / "out").exists()


def test_nothing_that_is_not_ours_is_overwritten(vsr, place, tmp_path):
    mine = tmp_path / "thesis"
    mine.mkdir()
    (mine / "chapter.txt").write_text("years of work")
    for line in (f"prepare --out {mine}", f"train --out {mine}", f"train --out {mine / 'chapter.txt'}"):
        answer = vsr(line)
        assert answer.code == 2
        assert "nothing is overwritten" in answer.errors[0]
    assert everything(mine) == ["chapter.txt"]
    assert (mine / "chapter.txt").read_text() == "years of work"


@pytest.mark.parametrize("line", ["prepare --out {}/file/x", "train --out {}/file/x", "predict {}/story --out {}/file"])
def test_an_out_that_cannot_be_is_one_line(vsr, place, write_story, tmp_path, line):
    write_story(tmp_path / "story", 4)
    (tmp_path / "file").write_text("a file")
    answer = vsr(line.replace("{}", str(tmp_path)))
    assert answer.code == 2
    (error,) = answer.errors
    assert str(tmp_path / "file") in error


def test_a_full_disk_while_predicting_leaves_no_half_picture(vsr, place, write_story, tmp_path, monkeypatch):
    def full(self: Image.Image, path: Path, **_: object) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    story = write_story(tmp_path / "story", 4)
    monkeypatch.setattr(Image.Image, "save", full)
    answer = vsr(f"predict {story} --out {tmp_path / 'out'}")
    assert answer.code == 2
    (error,) = answer.errors
    assert "free some space" in error
    assert everything(tmp_path / "out") == ["story"]


def test_a_full_disk_while_training_is_one_line_and_the_run_says_that_it_failed(vsr, place, tmp_path, monkeypatch):
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
