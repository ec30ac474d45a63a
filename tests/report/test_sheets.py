"""Tables as Markdown, LaTeX and CSV: structure, escaping, marks, and numbers in full precision."""

import csv
import io
import json
import re
from pathlib import Path

import pytest

from vsr_cli.plugin.kinds import MODEL_COMPONENTS
from vsr_cli.report.formatting import column_format
from vsr_cli.report.sheet_formats import latex, render, to_csv
from vsr_cli.report.sheets import Entry, Sheet, ablation_sheet, comparison_sheet, evaluation_sheet, flat, runs_sheet
from vsr_cli.runs.results import BETTER, NOT_SIGNIFICANT, WORSE
from vsr_cli.runs.summary import RunSummary

HOSTILE = "a_b & 50% of $x {y} ~z^2 #1 \\cmd <i> | \"q\" 'r' `s`\n\x1b[31m"


@pytest.fixture
def result(run) -> dict:
    return json.loads((run / "evaluations/test/result.json").read_text()) | {"decoding": {"method": "greedy"}}


@pytest.fixture
def compared() -> dict:
    """A comparison of two runs in two metrics, as `vsr compare --json` writes it."""
    first = {"value": 4.0, "ci95": [3.5, 4.5]}
    second = {"value": 5.0, "ci95": [4.4, 5.6], "difference": 1.0, "difference_ci95": [0.5, 1.5], "verdict": BETTER}
    worse = {
        "value": 0.05,
        "ci95": None,
        "difference": 0.01,
        "difference_ci95": [-0.001, 0.02],
        "verdict": NOT_SIGNIFICANT,
    }
    return {
        "split": "test",
        "stories": 12,
        "windows": 40,
        "cautions": ["only 12 stories were scored"],
        "runs": ["runs/a", "runs/b"],
        "metrics": {
            "bleu": {"better": "higher", "scores": [first, second], "baselines": {"copy-last": 3.0}},
            "mse": {"better": "lower", "scores": [{"value": 0.04, "ci95": None}, worse], "baselines": {}},
        },
        "not_compared": {"meteor": "not measured in runs/b"},
    }  # fmt: skip


def ablated() -> dict:
    score = {"value": 4.0, "ci95": [3.5, 4.5], "seeds": [3.9, 4.1], "baselines": {"mean": {"value": 1.0}}}
    other = {**score, "value": 3.0, "difference": -1.0, "difference_ci95": [-2.0, -0.5], "verdict": WORSE}
    costs = {"parameters": {"trained": 1234}, "seconds": 61.0, "seeds": [0, 1]}
    return {
        "folder": "ablations/x",
        "split": "validation",
        "stories": 30,
        "windows": 90,
        "seeds": [0, 1],
        "base": "gru",
        "comparisons": 1,
        "combinations": [{"label": name, "values": {"temporal": name}, **costs} for name in ("gru", "lstm", "mean")],
        "metrics": {"bleu": {"better": "higher", "scale": "", "scores": [score, other, None]}},
        "cautions": [],
        "not_compared": {},
        "failed": {"mean-seed0": "out of memory"},
        "not_run": [],
    }


def check_latex(text: str) -> list[list[str]]:
    """Check the structure of a LaTeX table, and return the cells of its rows."""
    unescaped = re.sub(r"\\[{}\\$&%#_]", "", text)
    depth = 0
    for letter in unescaped:
        depth += {"{": 1, "}": -1}.get(letter, 0)
        assert depth >= 0
    assert depth == 0
    assert unescaped.count("$") % 2 == 0
    assert re.findall(r"\\begin\{(\w+)\}", text).count("tabular") == text.count(r"\end{tabular}")
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == text.count(r"\begin{tabular}")
    rows = []
    for align, body in re.findall(r"\\begin\{tabular\}\{([lr]+)\}(.*?)\\end\{tabular\}", text, re.S):
        for line in body.strip().splitlines():
            if line.endswith(r"\\"):
                cells = re.split(r"(?<!\\)&", line.removesuffix(r"\\"))
                assert len(cells) == len(align), line
                rows.append([cell.strip() for cell in cells])
    return rows


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_evaluation_has_a_row_for_the_model_each_baseline_and_the_upper_bound(result):
    sheet = evaluation_sheet(result)
    assert [row[0] for row in sheet.rows] == ["model", "copy-last", "nearest-neighbor", "upper bound"]
    assert sheet.head == ["", "bleu ↑", "mse ↓"]
    assert sheet.rows[0][1] == Entry("4.00", "[3.50, 4.50]", strong=True)
    assert sheet.rows[1][1] == Entry("3.00", verdict=BETTER)
    assert sheet.rows[2][1] == "–"
    assert "meteor is unavailable: meteor: WordNet was not found; install it" in sheet.cautions
    assert evaluation_sheet(result, only=["mse"]).head == ["", "mse ↓"]


def test_the_best_of_model_and_baselines_is_bold_in_every_table(result, compared):
    bleu, mse = result["metrics"]["bleu"], result["metrics"]["mse"]
    bleu["baselines"]["copy-last"]["value"], mse["baselines"]["copy-last"]["value"] = 13.86, mse["value"]
    text = render(evaluation_sheet(result), "markdown")
    assert "| model | 4.00 [3.50, 4.50] | **0.0400** |" in text
    assert "| copy-last | **13.86** ▲ | **0.0400** |" in text
    assert "| upper bound | 100.00 | – |" in text
    assert check_latex(render(evaluation_sheet(result), "latex"))[2][1].startswith(r"\textbf{13.86}")

    compared["metrics"]["bleu"]["baselines"]["copy-last"] = 13.86
    assert "| copy-last | **13.86** | – |" in render(comparison_sheet(compared, ["a", "b"]), "markdown")
    assert "**5.00**" not in render(comparison_sheet(compared, ["a", "b"]), "markdown")
    found = ablated()
    found["metrics"]["bleu"]["scores"][0]["baselines"]["mean"]["value"] = 13.86
    assert "| mean | **13.86** |" in render(ablation_sheet(found), "markdown")


@pytest.mark.parametrize("form", ["markdown", "latex"])
def test_a_legend_explains_only_what_a_table_contains(result, compared, form):
    for cell in (each for each in result["metrics"].values() if "value" in each):
        cell.update(ci95=None, upper_bound=None)
        for baseline in cell["baselines"].values():
            baseline.update(verdict=None, ci95=None)
    for score in (each for cell in compared["metrics"].values() for each in cell["scores"]):
        score.update(ci95=None, verdict=None)
    for sheet in (evaluation_sheet(result), comparison_sheet(compared, ["a", "b"])):
        assert not re.search("significant|brackets|upper bound|not tested", render(sheet, form))


def test_markdown_has_marks_and_a_legend_in_every_encoding(result):
    text = render(evaluation_sheet(result), "markdown")
    assert "| model | **4.00** [3.50, 4.50] | **0.0400** |" in text
    assert "| copy-last | 3.00 ▲ | 0.0500 |" in text
    assert "the model is ▲ significantly better than it" in text
    ascii_text = render(evaluation_sheet(result), "markdown", encoding="ascii")
    assert "| copy-last | 3.00 ^ | 0.0500 |" in ascii_text
    assert "the model is ^ significantly better" in ascii_text


def test_latex_is_booktabs_with_marks_and_footnotes(result):
    text = render(evaluation_sheet(result), "latex")
    rows = check_latex(text)
    assert rows[0] == ["", r"bleu $\uparrow$", r"mse $\downarrow$"]
    assert rows[1] == ["model", r"\textbf{4.00} {\scriptsize [3.50, 4.50]}", r"\textbf{0.0400}"]
    assert rows[2] == ["copy-last", r"3.00\textsuperscript{$\ast$}", "0.0500"]
    assert r"\label{tab:a-i-run-test-split}" in text
    notes = text[text.index(r"{\footnotesize") :]
    for mark, words in ((r"$\ast$", BETTER), (r"$\dagger$", WORSE), (r"$\circ$", NOT_SIGNIFICANT)):
        assert rf"\textsuperscript{{{mark}}} {words}" in notes
    assert r"95 \% interval over stories" in notes
    assert "only 12 stories were scored" in notes


@pytest.mark.parametrize(
    ("first", "value", "shown"),
    [
        (81.07, 8.803, "8.8"),
        (0.874, 0.4, "0.400"),
        (1.0, 0.00625, "0.01"),
        (0.00189, 0.0516, "0.05160"),
        (0.9, 5.3e-15, "0.000"),
        (0.9, -1e-9, "0.000"),
        (2345.6, 12.3, "12"),
        (2345.6, 12345.6, "12,346"),
        (0.0, 0.25, "0.250"),
        (None, None, "–"),
    ],
)
def test_a_column_has_the_decimals_of_its_first_score(first, value, shown):
    assert column_format(first)(value) == shown


def test_csv_has_every_number_in_full_precision(result):
    result["metrics"]["bleu"]["value"] = 4.123456789012345
    records = read_csv(render(evaluation_sheet(result), "csv"))
    model, baseline, bound = [record for record in records if record["metric"] == "bleu"]
    assert float(model["value"]) == 4.123456789012345
    assert (model["system"], model["ci95_low"], model["ci95_high"]) == ("model", "3.5", "4.5")
    assert (baseline["system"], baseline["difference_low"], baseline["verdict"]) == ("copy-last", "0.5", BETTER)
    assert (bound["system"], bound["value"], bound["verdict"]) == ("upper bound", "100.0", "")
    assert {record["split"] for record in records} == {"test"}


def test_comparison_marks_differences_emphasizes_the_best_and_lists_shared_baselines(compared):
    sheet = comparison_sheet(compared, ["a", "b"])
    assert [row[0] for row in sheet.rows] == ["a", "b", "copy-last"]
    assert sheet.rows[1][1] == Entry("5.00", "[4.40, 5.60]", BETTER, strong=True)
    assert sheet.rows[0][2] == Entry("0.0400", "", None, strong=True)
    assert sheet.rows[2][1:] == ["3.00", "–"]
    check_latex(render(sheet, "latex"))
    assert "it is ▲ significantly better than a" in render(sheet, "markdown")
    assert "meteor is not compared: not measured in runs/b" in sheet.cautions
    found = {(each["metric"], each["system"]): each for each in read_csv(render(sheet, "csv"))}
    assert found["bleu", "b"]["difference_high"] == "1.5"
    assert found["bleu", "copy-last"]["kind"] == "baseline"


def test_ablation_has_scores_costs_and_baselines():
    sheet = ablation_sheet(ablated())
    assert sheet.head == ["", "bleu ↑", "seeds", "parameters", "time per run"]
    assert sheet.rows[1] == ["lstm", Entry("3.00", "[3.50, 4.50]", WORSE), "2", "1,234", "1:01"]
    assert sheet.rows[2][1] == "–"
    assert sheet.rows[3] == ["mean", "1.00", "", "", ""]
    text = render(sheet, "latex")
    check_latex(text)
    assert r"corrected for 1 comparisons (Holm)" in text
    assert "mean-seed0 has failed: out of memory" in text
    assert read_csv(render(sheet, "csv"))[1]["setting temporal"] == "lstm"
    nothing = {**ablated(), "metrics": {}}
    assert "no run has finished yet" in render(ablation_sheet(nothing), "markdown")


def test_wide_table_continues_in_another_with_the_same_rows():
    head = ["", *(f"m{number}" for number in range(11))]
    sheet = Sheet(title="wide", head=head, rows=[["a", *map(str, range(11))], ["b", *map(str, range(11))]], across=5)
    rows = check_latex(render(sheet, "latex"))
    assert [row[0] for row in rows] == ["", "a", "b"] * 3
    assert [cell for row in rows if row[0] == "a" for cell in row[1:]] == [str(number) for number in range(11)]
    assert max(map(len, rows)) <= 6


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5e-05", "5e-05"),
        ("5.3e-15", r"$5.3\times10^{-15}$"),
        ("-0.5", "$-$0.5"),
        ("[-2, -0.5]", "[$-$2, $-$0.5]"),
        ("gru-256 2026-11-30", "gru-256 2026-11-30"),
        ("a_b & 50%", r"a\_b \& 50\%"),
        ("–", "--"),
        ("a--b", "a-{}-b"),
        ('"a"', r"\symbol{34}a\symbol{34}"),
    ],
)
def test_latex_escapes_numbers_and_special_characters(text, expected):
    assert latex(text) == expected


@pytest.mark.parametrize("name", ["[x]", "*x"])
def test_no_name_is_an_argument_of_the_row_before(name, compared):
    rows = render(comparison_sheet(compared, ["a", name]), "latex").splitlines()
    assert [row.split(" & ")[0] for row in rows if name in row] == [f"{{}}{name}"]


@pytest.mark.parametrize("form", ["markdown", "latex", "csv"])
def test_hostile_names_change_no_structure(form, compared):
    compared["metrics"][HOSTILE] = compared["metrics"].pop("mse")
    sheet = comparison_sheet(compared, [HOSTILE, "b"])
    text = render(sheet, form)
    assert "\x1b" not in text
    if form == "latex":
        assert len(check_latex(text)) == 4
        assert r"\textbackslash{}cmd" in text
    elif form == "csv":
        assert len(read_csv(text)) == 5
    else:
        rows = [line for line in text.splitlines() if line.startswith("|")]
        assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {4}


def test_flat_record_and_nothing_for_numbers_that_are_not_finite():
    assert flat({"a": {"b": 1, "c": {"d": 2}}, "e": [3]}) == {"a.b": 1, "a.c.d": 2, "e": [3]}
    assert to_csv([{"a": float("nan"), "b": True}, {"c": None, "b": [1, 2]}]) == 'a,b,c\n,true,\n,"[1, 2]",\n'


def test_runs_are_listed_with_their_components(tmp_path: Path):
    parts = {**dict.fromkeys(MODEL_COMPONENTS, "x"), "temporal": "gru"}
    run = RunSummary(folder=tmp_path / "a_b", status="failed", parts=parts, problem="no disk space", epochs_wanted=2)
    sheet = runs_sheet([run])
    assert sheet.head[4:5] == ["temporal"]
    assert check_latex(render(sheet, "latex"))[1][:2] == [r"a\_b", "failed"]
    assert "a\\_b: no disk space" in render(sheet, "markdown")
    assert read_csv(render(sheet, "csv"))[0]["parts.temporal"] == "gru"
