"""`--format` of the commands that print tables."""

import csv
import io
import json
import shutil

import pytest


@pytest.fixture
def line(request, evaluated):
    """A command line whose result is a table."""
    shutil.copytree(evaluated, "runs/other", dirs_exist_ok=True)
    data = json.loads((evaluated / "run.json").read_text())["data"]
    return {
        "runs": "runs list runs",
        "compare": "compare mine other",
        "evaluate": f"evaluate --run mine --data {data} --metrics bleu",
        "stats": f"data stats {data} --out stats.png",
    }[request.param]


ALL = pytest.mark.parametrize("line", ["runs", "compare", "evaluate", "stats"], indirect=True)


@ALL
def test_each_format_is_written_to_stdout_alone(line, vsr):
    answers = {form: vsr(f"{line} --format {form}") for form in ("markdown", "latex", "csv", "json", "table")}
    assert {answer.code for answer in answers.values()} == {0}, answers
    assert answers["markdown"].out.startswith("**")
    assert answers["latex"].out.startswith("% \\usepackage{booktabs}\n\\begin{table}")
    assert answers["latex"].out.endswith("\\end{table}\n")
    rows = list(csv.reader(io.StringIO(answers["csv"].out)))
    assert len({len(row) for row in rows}) == 1
    assert len(rows) > 1
    assert json.loads(answers["json"].out) == json.loads(vsr(f"{line} --json").out)
    assert answers["table"].out == vsr(line).out


def test_json_and_another_format_contradict_each_other(vsr, empty):
    answer = vsr("runs list --json --format csv")
    assert (answer.code, answer.errors) == (2, ["--json and --format csv: contradict each other; leave one out"])
    assert "'html' is not one of" in vsr("runs list --format html").errors[0]


def test_leaky_protocol_has_no_such_format(vsr, evaluated):
    answer = vsr("evaluate --protocol leaky --format latex")
    assert "--protocol leaky has only a table and json" in answer.errors[0]


def test_table_for_a_paper_has_the_metrics_that_were_named(evaluated, vsr):
    data = json.loads((evaluated / "run.json").read_text())["data"]
    out = vsr(f"evaluate --run mine --data {data} --metrics mse --format markdown").out
    assert "mse ↓" in out
    assert "bleu" not in out


def test_comparison_has_the_metrics_that_were_named(evaluated, vsr):
    shutil.copytree(evaluated, "runs/other")
    compared = json.loads(vsr("compare mine other --metrics mse --json").out)
    assert list(compared["metrics"]) == ["mse"]
    answer = vsr("compare mine other --metrics mse rouge --format csv")
    assert "rouge is not compared: not measured" in answer.err
    assert "did you mean bleu?" in vsr("compare mine other --metrics blue").errors[0]
