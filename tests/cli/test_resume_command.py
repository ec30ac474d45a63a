"""`vsr train --resume` as it is typed."""

import json
import shutil

import pytest

from vsr_cli.runs.run import Run


@pytest.fixture
def run(place, tmp_path):
    """A copy of the run that `vsr train --temporal gru` made."""
    (trained,) = (place / "runs").iterdir()
    return Run(shutil.copytree(trained, tmp_path / "run"))


def test_a_finished_run_has_nothing_to_do_and_that_is_no_mistake(vsr, run):
    before = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}
    answer = vsr(f"train --resume {run.folder}")
    assert answer.code == 0
    assert "is finished: nothing to do; --epochs N, above 1, trains on" in answer.err
    assert {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()} == before


def test_more_epochs_train_on(vsr, run):
    answer = vsr(f"train --resume {run.folder} --epochs 2")
    assert answer.code == 0
    assert not answer.out
    assert [json.loads(line)["epoch"] for line in run.history.read_text().splitlines()] == [1, 2]
    assert run.facts()["status"] == "finished"
    assert run.config()["training"]["epochs"] == 2


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("--temporal lstm", "(got --temporal lstm)"),
        ("--batch-size 4 --set training.seed=2", "(got --batch-size 4, --set training.seed=2)"),
        ("--preset tiny --out elsewhere", "(got --preset tiny, --out elsewhere)"),
        ("--config x.toml", "(got --config x.toml)"),
        ("--epochs 0", "--epochs 0"),
        ("--epochs 2 --data runs", "vsr prepare"),
    ],
)
def test_what_may_not_change_is_one_line(vsr, run, words, part):
    answer = vsr(f"train --resume {run.folder} {words}")
    assert answer.code == 2
    (error,) = answer.errors
    assert part in error


@pytest.mark.parametrize(("folder", "part"), [("nowhere", "there is no such folder"), ("data/storyworld", "not a run")])
def test_what_is_no_run_is_one_line(vsr, place, folder, part):
    answer = vsr(f"train --resume {folder}")
    assert answer.code == 2
    (error,) = answer.errors
    assert part in error
