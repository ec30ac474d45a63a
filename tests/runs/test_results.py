"""Stored evaluations: merged, replaced as a whole, and bound to the weights that they scored."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from vsr_cli.api import VsrError
from vsr_cli.cli.compare import run_compare
from vsr_cli.cli.report import run_report
from vsr_cli.config.experiment import resolve_metrics
from vsr_cli.data.shards import ArrayRows
from vsr_cli.evaluation import storage
from vsr_cli.evaluation.evaluate import Evaluation
from vsr_cli.evaluation.storage import store_evaluation
from vsr_cli.files import atomic
from vsr_cli.files.atomic import read_json, write_json
from vsr_cli.plugin.discovery import registry
from vsr_cli.runs.results import FORMAT, all_stored, open_evaluated, read_stored
from vsr_cli.runs.run import Run
from vsr_cli.runs.summary import evaluations
from vsr_cli.workflows.evaluation import run_evaluate
from vsr_cli.workflows.training import resume_train

FACTS = {"vsr": "1", "split": "test", "data": "d1", "decoding.method": "greedy", "checkpoint": "c1"}


def made(values, *, says="a fox", **changed):
    """Return an evaluation of two windows with these scores by metric; None: unavailable."""
    facts = FACTS | changed
    result = {
        "format": FORMAT, "run": "", "data": "",
        "signature": "|".join(f"{key}:{value}" for key, value in facts.items()),
        "checkpoint": facts["checkpoint"] * 4, "split": "test", "stories": 2, "windows": 2, "cautions": [],
        "decoding": {"method": "greedy"}, "leaks": {"padded": 0}, "copied": None,
        "metrics": {
            name: {"unavailable": f"{name}: not here"} if value is None else {"value": value}
            for name, value in values.items()
        },
    }  # fmt: skip
    scored = {name: value for name, value in values.items() if value is not None}
    lines = [{"story": s, "start": 0, "prediction": says, "scores": dict(scored)} for s in "ab"]
    statistics = {name: {"model": np.full((2, 1), float(value))} for name, value in scored.items()}
    return Evaluation(result, lines, statistics, [], None, ArrayRows(np.zeros((2, 8, 8, 3), np.uint8)))


def keep(folder, evaluation, **options):
    return store_evaluation(folder, evaluation, evaluation.result, **options)


def state(folder):
    """Return the scores, which result, statistics and predictions must agree on."""
    found = read_stored(folder.parents[1], folder)
    of_result = {name: cell["value"] for name, cell in found.available.items()}
    of_statistics = {key.partition("/")[0]: rows[0, 0] for key, rows in found.statistics().items()}
    assert of_statistics == of_result
    assert all(line["scores"] == of_result for line in found.predictions())
    return of_result


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run/evaluations/test"


def test_another_metric_is_merged_and_the_same_one_replaced(folder, capsys):
    keep(folder, made({"bleu": 1, "rouge": 2}))
    assert keep(folder, made({"meteor": 3}))["metrics"].keys() == {"bleu", "rouge", "meteor"}
    assert "keeping the stored scores of bleu, rouge" in capsys.readouterr().err
    keep(folder, made({"rouge": 4, "mse": 5}))
    assert state(folder) == {"bleu": 1, "rouge": 4, "meteor": 3, "mse": 5}


def test_the_stored_score_of_a_metric_that_cannot_run_stays(folder):
    keep(folder, made({"bleu": 1, "meteor": None}))
    stored = keep(folder, made({"bleu": None, "mse": 2}))
    assert state(folder) == {"bleu": 1, "mse": 2}
    assert stored["metrics"]["meteor"] == {"unavailable": "meteor: not here"}
    assert keep(folder, made({"meteor": 3}))["metrics"]["meteor"] == {"value": 3}


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"checkpoint": "c2"}, "its checkpoint differs"),
        ({"data": "d2"}, "its data differs"),
        ({"decoding.method": "beam"}, "its decoding.method differs"),
        ({"vsr": "2", "data": "d2"}, "its vsr, data differ"),
        ({"says": "a dog"}, "its predictions differs"),
    ],
)
def test_an_evaluation_of_something_else_is_replaced_with_one_log_line(folder, capsys, other, said):
    keep(folder, made({"bleu": 1, "rouge": 2}))
    keep(folder, made({"rouge": 3}, **other))
    assert state(folder) == {"rouge": 3}
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_a_damaged_evaluation_is_replaced_and_not_merged(folder, capsys):
    keep(folder, made({"bleu": 1}))
    (folder / "predictions.jsonl").write_text((folder / "predictions.jsonl").read_text().replace("1", "7"))
    with pytest.raises(VsrError, match=r"predictions\.jsonl: is damaged.*evaluate the test split"):
        read_stored(folder.parents[1], folder).predictions()
    keep(folder, made({"mse": 2}))
    assert state(folder) == {"mse": 2}
    assert "cannot be read" in capsys.readouterr().err


def test_outdated_reports_are_removed_and_other_files_stay(folder):
    keep(folder, made({"bleu": 1}))
    for name in ("report.html", "notes.txt"):
        (folder / name).write_text("mine")
    (folder / "more").mkdir()
    (folder / "more/a").write_text("b")
    keep(folder, made({"mse": 2}), draw=lambda path: path.write_bytes(b"drawn"))
    assert not (folder / "report.html").exists()
    assert ((folder / "notes.txt").read_text(), (folder / "more/a").read_text()) == ("mine", "b")
    assert (folder / "storyboards.png").read_bytes() == b"drawn"


def in_a_process(act):
    """Run something in another process, which exits with 0 on success."""
    child = os.fork()
    if child:
        return child
    try:
        act()
        os._exit(0)
    finally:
        os._exit(1)


STEPS = (
    (Path, "rename"), (Path, "replace"), (Path, "chmod"), (Path, "mkdir"), (Path, "open"), (shutil, "rmtree"),
    (atomic.tempfile, "mkdtemp"), (storage, "write_checksums"),
)  # fmt: skip


def keep_until_killed(folder, evaluation, *, step):
    """Store an evaluation in a process that is killed before its step-th change of files."""
    left = [step]

    def counted(call):
        def called(*arguments, **options):
            left[0] -= 1
            if left[0] < 0:
                os._exit(9)
            return call(*arguments, **options)

        return called

    def write():
        for owner, name in STEPS:
            setattr(owner, name, counted(getattr(owner, name)))
        keep(folder, evaluation)

    return os.waitstatus_to_exitcode(os.waitpid(in_a_process(write), 0)[1])


def test_a_killed_process_leaves_the_files_of_one_evaluation(folder):
    keep(folder, made({"bleu": 1, "rouge": 2}))
    added = set()
    for step in range(200):
        ended = keep_until_killed(folder, made({"meteor": step}), step=step)
        found = state(folder)
        added.add(found.pop("meteor", None) == step)
        assert found == {"bleu": 1, "rouge": 2}
        assert [each.label for each in all_stored(folder.parents[1])] == ["test"]
        if ended != 9:
            break
    assert ended == 0
    assert step > 10
    assert added == {True, False}


# The weights that a result belongs to.


def score(run, *names, split="test"):
    return run_evaluate(registry(), run, Path(run.facts()["data"]), split, resolve_metrics(registry(), names, []))


@pytest.fixture(scope="module")
def once(tmp_path_factory, train_small):
    """Return a run that was evaluated and then trained further, and one that was not."""
    runs = tmp_path_factory.mktemp("runs")
    run = train_small(runs / "on", "training.epochs=1")
    score(run, "bleu")
    shutil.copytree(run.folder, runs / "other")
    before = run.weights_digest()
    resume_train(registry(), run.folder, data=None, epochs=3)
    assert run.weights_digest() != before
    return runs


@pytest.fixture
def runs(once, tmp_path):
    return shutil.copytree(once, tmp_path / "runs")


def test_the_result_and_every_signature_have_the_checkpoint_digest(runs):
    run = Run(runs / "other")
    result = open_evaluated(run.folder, "test").result
    assert result["checkpoint"] == run.weights_digest()
    for signature in (result["signature"], *(cell["signature"] for cell in result["metrics"].values())):
        assert f"|checkpoint:{run.weights_digest()[:8]}" in signature


def test_a_stale_result_is_refused_everywhere_and_its_remedy_works(runs, monkeypatch):
    run = Run(runs / "on")
    hint = f"vsr evaluate --run {run.folder} --split test --metrics bleu"
    (shown,), (problem,) = evaluations(run)
    assert shown["scores"] == {}
    assert "is stale" in shown["stale"]
    assert hint in problem
    for attempt in (
        lambda: run_report(run.folder, None, "test", most=1),
        lambda: run_report(run.folder / "evaluations/test", None, "test", most=1),
        lambda: run_compare(registry(), [run.folder, runs / "other"], "test", []),
        lambda: run_compare(registry(), [runs / "other", run.folder], "test", []),
    ):
        with pytest.raises(VsrError, match="is stale: it scored checkpoint") as caught:
            attempt()
        assert hint.rpartition("--run")[0] in str(caught.value)
        assert "\n" not in str(caught.value)
    assert score(run, "mse")["metrics"].keys() == {"mse"}
    (shown,), problems = evaluations(run)
    assert (shown["stale"], problems) == (None, [])
    assert shown["scores"].keys() == {"mse"}


def test_a_copied_evaluation_of_another_run_is_stale(runs):
    shutil.rmtree(runs / "on/evaluations")
    shutil.copytree(runs / "other/evaluations", runs / "on/evaluations")
    with pytest.raises(VsrError, match="is stale"):
        open_evaluated(runs / "on", "test")
    result = json.loads((runs / "on/evaluations/test/result.json").read_text())
    assert result["checkpoint"] == Run(runs / "other").weights_digest()


def test_a_result_of_other_data_is_reported(runs, small_data, tmp_path):
    copy = shutil.copytree(small_data, tmp_path / "data")
    run = Run(runs / "other")
    folder = run.folder / "evaluations/test"
    stored = read_stored(run.folder, folder)
    assert stored.other_data is None
    manifest = read_json(copy / "manifest.json", what="a manifest")
    write_json(copy / "manifest.json", manifest | {"fingerprint": "f" * 32})
    found = type(stored)(stored.place, stored.run, stored.folder, {**stored.result, "data": str(copy)})
    assert "as it was before it was prepared anew" in found.other_data
    signature = stored.result["signature"].replace("|data:", "|data:0")
    found = type(stored)(stored.place, stored.run, stored.folder, {**stored.result, "signature": signature})
    assert "scored other data" in found.other_data
