"""`vsr runs rm` and `vsr runs rename`."""

import io
import json
import shutil
from pathlib import Path

import pytest

from vsr_cli.cli.runs import rm
from vsr_cli.files import locks
from vsr_cli.files.locks import exclusive_lock


@pytest.fixture
def runs(workspace, tmp_path, monkeypatch) -> Path:
    """A folder with two copies of the trained run."""
    (run,) = (workspace / "runs").iterdir()
    for name in ("first", "second"):
        shutil.copytree(run, tmp_path / "runs" / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(locks, "PATIENCE", 0.0)
    return Path("runs")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_rm_removes_runs_by_name_and_by_path(runs, vsr):
    answer = vsr("runs rm first runs/second runs/second/ --yes --json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["removed"] == ["runs/first", "runs/second"]
    assert list(runs.iterdir()) == []


@pytest.mark.parametrize(("typed", "left"), [("y\n", []), ("\n", ["first"]), ("", ["first"])])
def test_rm_asks_first(runs, vsr, monkeypatch, typed, left):
    shutil.rmtree(runs / "second")
    (runs / "first" / "notes.txt").write_text("mine")
    monkeypatch.setattr(rm.sys, "stdin", Terminal(typed))
    answer = vsr("runs rm first")
    assert answer.code == (rm.NOT_REMOVED if left else 0)
    assert "runs/first: finished, 1 epoch," in answer.err
    assert "not of vsr: notes.txt" in answer.err
    assert [path.name for path in runs.iterdir()] == left


def test_rm_refuses_without_an_answer(runs, vsr, monkeypatch):
    monkeypatch.setattr(rm.sys, "stdin", io.StringIO("y\n"))
    answer = vsr("runs rm first")
    assert (answer.code, len(answer.errors)) == (2, 1)
    assert "--yes" in answer.errors[0]
    assert (runs / "first").is_dir()


def test_rm_checks_all_before_it_removes_any(runs, vsr):
    (runs.parent / "stories").mkdir()
    answer = vsr("runs rm first absent stories --yes")
    assert answer.code == 2
    assert [line.partition(":")[0] for line in answer.errors] == ["absent", "stories"]
    assert (runs / "first").is_dir()


@pytest.mark.parametrize("line", ["runs rm first --yes", "runs rename first other"])
@pytest.mark.parametrize("inside", ["", "evaluations/test"])
def test_run_in_use_is_refused(runs, vsr, line, inside):
    (runs / "first/evaluations/test").mkdir(parents=True, exist_ok=True)
    with exclusive_lock(runs / "first" / inside, busy="busy"):
        answer = vsr(line)
    assert answer.code == 2
    assert "another process is" in answer.errors[0]
    assert (runs / "first" / "config.json").is_file()


@pytest.mark.parametrize("line", ["runs rm {} --yes", "runs rename {} other"])
def test_run_of_an_ablation_is_refused(runs, vsr, line):
    (runs.parent / "ablation.json").write_text("{}")
    answer = vsr(line.format("first"))
    assert answer.code == 2
    assert "one of the runs of an ablation" in answer.errors[0]


def test_link_to_a_run_is_refused(runs, vsr):
    (runs / "latest").symlink_to("first")
    assert "is a link" in vsr("runs rm latest --yes").errors[0]
    assert (runs / "first").is_dir()


def test_renamed_run_keeps_its_evaluation(evaluated, vsr):
    answer = vsr("runs rename mine best")
    assert answer.code == 0, answer.err
    assert not evaluated.exists()
    record = json.loads(vsr("runs show best --json").out)
    assert record["folder"] == "runs/best"
    assert record["evaluations"][0]["stale"] is None
    assert "bleu" in record["evaluations"][0]["scores"]
    assert vsr("runs verify best").code == 0
    assert vsr("report runs/best --split test").code == 0


@pytest.mark.parametrize("name", ["second", "a/b", "..", ".hidden", "''", "-- -x"])
def test_rename_refuses_a_bad_name(runs, vsr, name):
    answer = vsr(f"runs rename first {name}")
    assert (answer.code, len(answer.errors)) == (2, 1)
    assert sorted(path.name for path in runs.iterdir()) == ["first", "second"]
