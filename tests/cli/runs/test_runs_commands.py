"""`vsr runs list` and `vsr runs show`."""

import json
import shutil

import pytest

from vsr_cli.runs.run import Run


def test_runs_list_has_a_line_per_run(workspace, vsr):
    (run,) = (workspace / "runs").iterdir()
    answer = vsr("runs list")
    assert (answer.code, answer.err) == (0, "")
    head, line = answer.out.splitlines()
    assert head.split()[:2] == ["run", "status"]
    assert line.split()[:2] == [run.name, "finished"]
    assert "1/1" in line
    (record,) = json.loads(vsr("runs list --json").out)
    assert record["folder"] == f"runs/{run.name}"
    assert record["epochs_done"] == record["epochs_wanted"] == record["best_epoch"] == 1
    assert record["parts"]["temporal"] == "gru"


def test_runs_show_has_settings_epochs_files_and_next_command(workspace, vsr):
    (run,) = (workspace / "runs").iterdir()
    by_default, by_name, by_path = vsr("runs show"), vsr(f"runs show {run.name}"), vsr(f"runs show {run}/")
    assert by_default.code == 0
    # Another test may have scored the shared run on another collection, which is reported apart.
    assert all("scored other data" in line for line in by_default.err.splitlines())
    assert by_name.out == by_default.out
    assert by_path.code == 0
    for part in ("command: vsr train --temporal gru", "1/1", "history.jsonl", f"vsr evaluate --run runs/{run.name}"):
        assert part in by_default.out
    assert "--resume" not in by_default.out
    record = json.loads(vsr("runs show --json").out)
    assert [row["epoch"] for row in record["history"]] == [1]
    assert record["config"] == Run(run).config()
    assert record["files"]["history"].endswith("history.jsonl")


def test_runs_show_has_scores(workspace, vsr):
    assert vsr("evaluate --metrics bleu").code == 0
    record = json.loads(vsr("runs show --json").out)
    (evaluation,) = [each for each in record["evaluations"] if each["split"] == "test"]
    assert evaluation["scores"]["bleu"].keys() == {"value", "copy-last", "verdict", "scale"}
    assert "bleu" in vsr("runs show").out


@pytest.mark.parametrize("status", ["interrupted", "failed", "running"])
def test_runs_show_suggests_resume_for_unfinished_run(workspace, vsr, tmp_path, status):
    (run,) = (workspace / "runs").iterdir()
    copy = shutil.copytree(run, tmp_path / "cut short")
    Run(copy).update(status=status)
    following = json.loads(vsr(f"runs show '{copy}' --json").out)["next"]
    assert following[0] == f"vsr train --resume '{copy}'"
    shutil.rmtree(copy / "checkpoints")
    assert not [line for line in json.loads(vsr(f"runs show '{copy}' --json").out)["next"] if "--resume" in line]


def test_runs_list_of_another_folder(empty, vsr, workspace):
    (run,) = (workspace / "runs").iterdir()
    shutil.copytree(run, empty / "demo" / "one")
    answer = vsr(f"runs list {empty / 'demo'} --json")
    assert [record["folder"] for record in json.loads(answer.out)] == [str(empty / "demo" / "one")]


def test_runs_list_and_show_without_a_run(empty, vsr):
    answer = vsr("runs list")
    assert (answer.code, answer.out) == (0, "")
    assert "no run yet; 'vsr train' writes one under runs/" in answer.err
    assert json.loads(vsr("runs list --json").out) == []
    assert vsr("runs list absent").errors == ["absent: there is no such folder; name a folder of runs"]
    assert vsr("runs show").errors == ["runs/: no run yet; train one with 'vsr train', or name the folder of a run"]
    assert len(vsr("runs show absent").errors) == 1
    (empty / "stories").mkdir()
    assert "this is not a run" in vsr("runs show stories").errors[0]
