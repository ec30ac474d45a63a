"""The decoding of a run: used by its evaluations unless another is chosen, which then has a folder of its own."""

import json
import shlex
import shutil

import pytest

from vsr_cli.api import Decoding
from vsr_cli.cli.report import run_report
from vsr_cli.config.experiment import own_decoding, resolve_decoding, resolve_metrics
from vsr_cli.config.resolve import parse_set
from vsr_cli.errors import VsrError
from vsr_cli.files.atomic import read_json, write_json
from vsr_cli.plugin.discovery import registry
from vsr_cli.runs.results import all_stored, open_evaluated
from vsr_cli.runs.sharing import copy_shared
from vsr_cli.runs.summary import evaluations
from vsr_cli.workflows.evaluation import folder_of_run, run_evaluate
from vsr_cli.workflows.settings import decoding_of, flag_layers, open_with_options
from vsr_cli.workflows.sharing import describe_run


@pytest.fixture
def run(tmp_path, train_small):
    return train_small(tmp_path / "run", "decoding.method=mbr", "decoding.samples=2", "training.epochs=1")


def test_a_run_is_evaluated_with_its_own_decoding_unless_another_is_chosen(run, small_data):
    metrics = resolve_metrics(registry(), ["bleu"], [])
    own = run_evaluate(registry(), run, small_data, "test", metrics)
    greedy = run_evaluate(registry(), run, small_data, "test", metrics, decoding=Decoding())
    for name, result, method in (("test", own, "mbr"), ("test-greedy", greedy, "greedy")):
        stored = json.loads((run.folder / "evaluations" / name / "result.json").read_text())
        assert stored["decoding"]["method"] == result["decoding"]["method"] == method
    assert own["decoding"]["samples"] == 2


@pytest.mark.parametrize(
    ("flag", "assignments", "expected"),
    [
        (None, [], {"method": "mbr", "samples": 2}),
        (None, ["decoding.samples=5"], {"method": "mbr", "samples": 5}),
        ("greedy", [], {"method": "greedy"}),
        (None, ["decoding.temperature=0.5", "decoding.method=sample"], {"method": "sample", "temperature": 0.5}),
    ],
)
def test_options_of_a_command_lie_on_the_run_s_decoding(run, flag, assignments, expected):
    layers = [*flag_layers({"decoding.method": flag}), *parse_set(assignments)]
    _, decoding = open_with_options(run.folder, layers, lambda every: resolve_decoding(registry(), every))
    assert expected.items() <= decoding.facts().items()


def test_a_damaged_decoding_of_a_run_is_one_line_that_names_the_file(run):
    with pytest.raises(VsrError, match=r"run/config\.json: decoding: .*; restore the file, or train again"):
        own_decoding({"decoding": {"method": "best"}}, where=f"{run.folder}/config.json")


def test_an_option_of_the_run_s_method_is_refused_for_another(run):
    layers = [*flag_layers({"decoding.method": "greedy"}), *parse_set(["decoding.samples=5"])]
    with pytest.raises(VsrError, match=r"greedy decoding does not use it"):
        open_with_options(run.folder, layers, lambda every: resolve_decoding(registry(), every))


def test_other_data_has_an_evaluation_of_its_own(train_small, small_data, prepare_ten_stories, tmp_path):
    run = train_small(tmp_path / "run", "training.epochs=1")
    other = shutil.move(prepare_ten_stories("data.image_size=32", "dataset.seed=7"), tmp_path / "my stories")
    moved = shutil.copytree(small_data, tmp_path / "moved")
    metrics = resolve_metrics(registry(), ["bleu"], [])
    results = [run_evaluate(registry(), run, data, "test", metrics) for data in (moved, other)]
    assert [found.label for found in all_stored(run.folder)] == ["test", "test-on-my_stories"]
    for data, result in ((None, results[0]), (moved, results[0]), (small_data, results[0]), (other, results[1])):
        assert open_evaluated(run.folder, "test", data=data).result == result
    page, _ = run_report(run.folder, other, "test", most=1)
    assert page.parent == run.folder / "evaluations/test-on-my_stories"

    shown, problems = evaluations(run)
    assert ([each["other_data"] is None for each in shown], problems) == ([True, False], [])
    found = open_evaluated(run.folder, "test", data=other)
    words = shlex.split(found.command)
    assert words[:8] == ["vsr", "evaluate", "--run", str(run.folder), "--split", "test", "--data", str(other)]
    assert "--decoding" not in words
    described = describe_run(run, stories=False)
    card = described.card(name=None, licence=None, storyboards=None)
    assert card.index("### Test split") < card.index("### test-on-my")
    assert "      name: my_stories\n" in card
    copy_shared(run, tmp_path / "shared", described.evaluations, stories=False)
    uploaded = json.loads((tmp_path / "shared/evaluations/test-on-my_stories/result.json").read_text())
    assert uploaded["data"] == f"my_stories-{found.facts['data']}"

    namesake = shutil.copytree(small_data, tmp_path / "elsewhere/my stories")
    there = read_json(namesake / "manifest.json", what="") | {"fingerprint": "e" * 32}
    write_json(namesake / "manifest.json", there)
    again = [folder_of_run(run, "test", decoding_of(run), data) for data in (other, namesake)]
    assert [folder.name for folder in again] == ["test-on-my_stories", "test-on-my_stories-eeeeeeee"]
    third = run_evaluate(registry(), run, namesake, "test", metrics)
    for data, result in ((other, results[1]), (namesake, third)):
        assert open_evaluated(run.folder, "test", data=data).result == result
    shutil.rmtree(run.folder / "evaluations/test-on-my_stories-eeeeeeee")

    write_json(other / "manifest.json", read_json(other / "manifest.json", what="") | {"fingerprint": "f" * 32})
    assert folder_of_run(run, "test", decoding_of(run), other).name == "test-on-my_stories"
    with pytest.raises(
        VsrError, match=r"my stories as it is now \(it has: test, test-on-my_stories; --data .*\); 'vsr evaluate"
    ):
        open_evaluated(run.folder, "test", data=other)
