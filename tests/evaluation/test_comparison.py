"""The comparison of evaluations."""

import contextlib
import json
from dataclasses import dataclass

import pytest
from safetensors.numpy import load_file, save_file

from vsr_cli.api import VsrError
from vsr_cli.cli.compare import run_compare
from vsr_cli.evaluation.comparison import in_one_space
from vsr_cli.files.atomic import write_json
from vsr_cli.plugin.discovery import registry
from vsr_cli.runs.results import BETTER, NOT_SIGNIFICANT, WORSE, open_evaluated

from ..written_evaluation import FOLDER, seal, settle


def rewrite(run, name, change):
    path = run / FOLDER / name
    text = change(json.dumps(json.loads(path.read_text())) if name.endswith(".json") else path.read_text())
    path.write_text(text)
    if name.endswith(".json"):
        with contextlib.suppress(ValueError):  # what is no JSON stays as it is
            write_json(path, json.loads(text))
    seal(run / FOLDER)


@pytest.fixture
def weak(write, tmp_path):
    return settle(write(tmp_path / "weak", seed=0, skill=3))


@pytest.fixture
def strong(write, tmp_path):
    return settle(write(tmp_path / "strong", seed=1, skill=6))


@pytest.fixture
def alike(write, tmp_path):
    return settle(write(tmp_path / "alike", seed=2, skill=3))


def compared(*runs, assignments=()):
    return run_compare(registry(), runs, "test", list(assignments))


def test_verdicts_follow_the_metrics_direction(weak, strong, alike):
    found = compared(weak, strong, alike)
    words = {name: [score.get("verdict") for score in cell["scores"]] for name, cell in found["metrics"].items()}
    assert words == {name: [None, BETTER, NOT_SIGNIFICANT] for name in ("bleu", "mse")}
    turned = compared(strong, weak)["metrics"]
    assert {name: cell["scores"][1]["verdict"] for name, cell in turned.items()} == {"bleu": WORSE, "mse": WORSE}
    assert turned["mse"]["scores"][1]["difference"] > 0


def test_the_difference_lies_in_its_interval_and_depends_on_the_order(weak, strong):
    first, second = compared(weak, strong)["metrics"]["bleu"]["scores"]
    other, _ = compared(strong, weak)["metrics"]["bleu"]["scores"]
    assert second["difference"] == second["value"] - first["value"]
    assert second["difference_ci95"][0] <= second["difference"] <= second["difference_ci95"][1]
    assert (other["value"], other["ci95"]) == (second["value"], second["ci95"])


def test_a_paired_difference_can_be_significant_with_overlapping_intervals(weak, tmp_path, write):
    slightly = write(tmp_path / "slightly", seed=0, skill=3)
    statistics = load_file(slightly / FOLDER / "statistics.safetensors")
    statistics["mse/model"] = statistics["mse/model"] - 0.0005
    save_file(statistics, slightly / FOLDER / "statistics.safetensors")
    first, second = compared(weak, settle(slightly))["metrics"]["mse"]["scores"]
    assert second["ci95"][1] > first["ci95"][0]
    assert second["verdict"] == BETTER


def test_only_settings_that_differ_are_listed(weak, strong):
    assert compared(weak, strong)["configurations"] == {"training.seed": [0, 1]}


def test_a_metric_missing_in_one_run_is_not_compared(weak, strong):
    rewrite(strong, "result.json", lambda text: text.replace('"mse": {', '"mse": {"unavailable": "gone", '))
    found = compared(weak, strong)
    assert list(found["metrics"]) == ["bleu"]
    assert found["not_compared"]["mse"] == f"not measured in {strong}"
    assert str(weak) in found["not_compared"]["meteor"]


def test_a_metric_with_another_signature_is_not_compared(weak, strong):
    rewrite(strong, "result.json", lambda text: text.replace("metric:bleu|nrefs:1", "metric:bleu|nrefs:1|case:lc"))
    assert "measured differently" in compared(weak, strong)["not_compared"]["bleu"]


def test_metric_options_other_than_in_the_evaluation_are_refused(weak, strong):
    rewrite(strong, "result.json", lambda text: text.replace('"bleu": {"value": ', '"bleu": {"value": 1'))
    with pytest.raises(VsrError, match=r"its bleu was measured with other options.*--set metrics\.bleu\.KEY=VALUE"):
        compared(weak, strong)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("result.json", lambda text: text.replace("|data:", "|data:0"), "was scored on other data"),
        (
            "predictions.jsonl",
            lambda text: text.split("\n", 1)[1],
            r"windows of .*weak \(1 are in one",
        ),
        ("result.json", lambda text: text.replace('"windows"', '"windos"'), "is not an evaluation of this version"),
        ("result.json", lambda text: text[:-1], "cannot be read"),
        ("statistics.safetensors", None, "cannot be read"),
    ],
)
def test_incomparable_evaluations_are_refused_in_one_line(weak, strong, name, change, said):
    if change is None:
        (strong / FOLDER / name).write_bytes(b"no tensors")
        seal(strong / FOLDER)
    else:
        rewrite(strong, name, change)
    with pytest.raises(VsrError, match=said) as caught:
        compared(weak, strong)
    assert str(strong) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_single_run_and_a_repeated_run_are_refused(weak):
    with pytest.raises(VsrError, match="only one is named"):
        compared(weak)
    with pytest.raises(VsrError, match="is named twice"):
        compared(weak, weak.parent / "." / "weak")


@dataclass
class InSpace:
    """A metric that compares in the run's visual space, by the mean of its statistics."""

    space = "visual"
    ranks = False
    scale, better, signature = "0-1, higher is better", "higher", ""

    def measure_in_space(self, comparison):
        raise AssertionError("nothing is measured anew")

    def combine(self, statistics):
        return {"cosine-image": float(statistics.mean())}


@pytest.mark.parametrize(
    ("spaces", "encoders", "compared_there"),
    [
        (("frozen-features", "frozen-features"), ("a", "a"), True),
        (("frozen-features", "frozen-features"), ("a", "b"), False),
        (("trained-embedding", "trained-embedding"), ("a", "a"), False),
    ],
)
def test_scores_in_different_spaces_are_not_compared(weak, strong, spaces, encoders, compared_there):
    for run, space, encoder in zip((weak, strong), spaces, encoders, strict=True):
        rewrite(run, "result.json", lambda text, kind=space: text.replace("|data:", f"|space.visual:{kind}|data:"))
        write_json(run / "config.json", {"visual": {"name": encoder}, "training": {}})
    evaluations = [open_evaluated(run, "test") for run in (weak, strong)]
    assert in_one_space(evaluations, InSpace()) == compared_there
