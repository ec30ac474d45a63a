"""`vsr evaluate --folds`: refused options, and its output in other commands."""

import json

import pytest


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (
            "--folds 3 --run runs/x",
            "--run runs/x: is for a single run, and --folds 3 trains 3; leave out one of the two",
        ),
        ("--folds 3 --split validation", "--split validation: is for a single run, and --folds 3 trains 3"),
        ("--folds 3 --allow-train", "--allow-train: is for a single run"),
        ("--folds 3 --protocol leaky", "--protocol leaky: is for a single run"),
        ("--folds 99", "--folds 99: needs 99 stories or groups of stories (got 14 stories); choose fewer folds"),
        ("--folds 3 --temporal gruu", "did you mean gru?"),
        ("--folds 3 --set trainin.epochs=1", "did you mean training?"),
        (
            "--folds 3 --out data",
            "--out data: exists and is not empty; name another folder, since nothing is overwritten",
        ),
        (
            "--epochs 3",
            "--epochs 3: only --folds N trains models here; leave this out, or add --folds N",
        ),
        ("--set training.seed=3", "--set training.seed=3: only --folds N trains models here"),
        (
            "--set text-decoder.length=3 --preset tiny",
            "--preset tiny, --set text-decoder.length=3: only --folds N trains models here",
        ),
    ],
)
def test_options_that_folds_refuse_are_one_line(vsr, workspace, line, error):
    before = sorted(workspace.rglob("*"))
    answer = vsr(f"evaluate {line}")
    assert answer.code == 2
    assert error in answer.errors[0]
    assert len(answer.errors) == 1
    assert sorted(workspace.rglob("*")) == before


def test_one_fold_is_refused(vsr, workspace):
    answer = vsr("evaluate --folds 1")
    assert answer.code == 2
    assert "--folds" in answer.errors[0]


def test_folds_need_data(vsr, empty):
    answer = vsr("evaluate --folds 3")
    assert (answer.code, answer.errors) == (
        2,
        ["--folds 3: nothing is prepared under data/ yet; run 'vsr prepare' first"],
    )


@pytest.fixture(scope="module")
def folds(trained, small_presets, tmp_path_factory):
    """Two cross-validations in a folder of their own, as they are typed; the second is named with --out."""
    from vsr_cli.config import presets

    from .conftest import _type

    folder = tmp_path_factory.mktemp("folds")
    data = trained[0] / "data" / "storyworld"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(presets, "FOLDER", small_presets)
        patch.setattr("vsr_cli.workflows.training._draw_curves", lambda run: None)
        first = _type(f"evaluate --folds 3 --data {data} --metrics bleu mse")
        second = _type(f"evaluate --folds 3 --data {data} --metrics bleu --temporal lstm --out runs/lstm --json")
    assert first.code == 0, first.err
    assert second.code == 0, second.err
    return folder, first, second


@pytest.fixture
def folds_folder(folds, monkeypatch, small_presets):
    from vsr_cli.config import presets

    monkeypatch.chdir(folds[0])
    monkeypatch.setattr(presets, "FOLDER", small_presets)
    return next((folds[0] / "runs").glob("folds-3-*")).relative_to(folds[0])


def test_folds_report_progress_and_pooled_scores(folds):
    _, first, second = folds
    for number in (1, 2, 3):
        assert f"fold {number} of 3: " in first.err
    assert "14 stories" in first.out
    assert "copy-last" in first.out
    assert json.loads(second.out)["folds"] == 3


def test_other_commands_accept_the_folder_of_folds(folds_folder, folds, vsr):
    listed = json.loads(vsr("runs list --json").out)
    assert {run["folder"]: run["status"] for run in listed} == {str(folds_folder): "finished", "runs/lstm": "finished"}
    assert {run["epochs_wanted"] for run in listed} == {3}
    inside = json.loads(vsr(f"runs list {folds_folder} --json").out)
    assert sorted(run["folder"] for run in inside) == [f"{folds_folder}/fold-{number}" for number in (1, 2, 3)]
    page = vsr(f"report {folds_folder}")
    assert page.code == 0, page.err
    text = (folds_folder / "evaluations/test/report.html").read_text()
    assert "14 stories" in text
    compared = vsr(f"compare {folds_folder} runs/lstm --json")
    assert compared.code == 0, compared.err
    assert json.loads(compared.out)["stories"] == 14
    assert vsr(f"evaluate --run {folds_folder}/fold-2 --metrics bleu").code == 0


@pytest.mark.parametrize("line", ["runs show {}", "evaluate --run {}", "predict x --run {}", "train --resume {}"])
def test_commands_on_one_run_refuse_the_folder_of_folds(folds_folder, vsr, line):
    answer = vsr(line.format(folds_folder))
    assert answer.code == 2
    assert (
        f"{folds_folder}: holds one run per fold; name one of them, such as {folds_folder}/fold-1" in answer.errors[0]
    )


def test_stopped_folds_are_listed_as_interrupted(folds_folder, folds, vsr, tmp_path, monkeypatch):
    import shutil

    shutil.copytree(folds[0] / "runs", tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    shutil.rmtree(tmp_path / "runs" / "lstm" / "fold-3")
    (stopped,) = [run for run in json.loads(vsr("runs list --json").out) if run["folder"] == "runs/lstm"]
    assert stopped["status"] == "interrupted"
    assert (
        stopped["problem"] == "2 of 3 folds are trained; repeat the same 'vsr evaluate --folds 3' command to continue"
    )
    (tmp_path / "runs" / "lstm" / "folds.json").write_text("{}")
    listed = vsr("runs list --json")
    assert listed.code == 0
    assert {run["status"] for run in json.loads(listed.out)} == {"finished", "unreadable"}
