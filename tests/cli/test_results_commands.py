"""`vsr report`, `compare` and `score`, as they are typed, on a run that `vsr train` and `vsr evaluate` made."""

import json
import shutil
from pathlib import Path

import pytest

from vsr_cli.files.atomic import read_json, write_json
from vsr_cli.runs.results import read_stored
from vsr_cli.runs.run import Run


@pytest.fixture
def evaluated(place, vsr, tmp_path, monkeypatch):
    """A folder of its own, with a copy of the trained run that has been evaluated."""
    (run,) = (place / "runs").iterdir()
    shutil.copytree(run, tmp_path / "runs/mine")
    data = json.loads((run / "run.json").read_text())["data"]
    monkeypatch.chdir(tmp_path)
    answer = vsr(f"evaluate --run runs/mine --data {data} --metrics bleu mse")
    assert answer.code == 0, answer.err
    return Path("runs/mine")


def test_report_writes_a_page_and_markdown_beside_the_evaluation(vsr, evaluated):
    answer = vsr("report")
    assert answer.code == 0, answer.err
    folder = evaluated / "evaluations/test"
    assert answer.out.strip() == str(folder / "report.html")
    assert "<title>mine: test split</title>" in (folder / "report.html").read_text()
    text = (folder / "report.md").read_text()
    assert text.startswith("# mine: test split\n")
    assert f"data:{json.loads((folder / 'result.json').read_text())['signature'].split('data:')[1]}" in text
    assert json.loads(vsr("report runs/mine --json --windows 2").out) == {
        "page": str(folder / "report.html"),
        "markdown": str(folder / "report.md"),
    }


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("report absent", "absent: there is no such folder; name a run, or what 'vsr score' wrote"),
        ("report runs/mine --split validation", "'vsr evaluate --run runs/mine --split validation' creates one"),
        ("report runs/mine --data absent", "absent"),
        ("report runs/mine --windows 0", "--windows"),
    ],
)
def test_mistakes_are_one_line(vsr, evaluated, line, said):
    answer = vsr(line)
    assert answer.code == 2
    (error,) = answer.errors
    assert said in error


def test_help_shows_examples(vsr):
    assert "vsr report" in vsr("report --help").out.partition("Examples")[2]


def test_each_decoding_has_an_evaluation_of_its_own_that_can_be_compared(vsr, evaluated):
    data = json.loads((evaluated / "evaluations/test/result.json").read_text())["data"]
    plain = (evaluated / "evaluations/test/predictions.jsonl").read_bytes()
    answer = vsr(f"evaluate --data {data} --metrics bleu --decoding beam --set decoding.beams=3 --json")
    assert answer.code == 0, answer.err
    result = json.loads(answer.out)
    assert result["decoding"] == {"method": "beam", "beams": 3, "length_penalty": 1.0, "no_repeat_ngram": 0}
    assert "|decoding.method:beam|decoding.beams:3|decoding.length_penalty:1.0|" in result["signature"]
    folder = evaluated / "evaluations/test-beam-beams3"
    assert read_json(folder / "result.json", what="a result") == result
    assert (evaluated / "evaluations/test/predictions.jsonl").read_bytes() == plain

    found = json.loads(vsr(f"compare {evaluated} {folder} --json").out)
    assert found["configurations"]["signature.decoding.method"] == ["greedy", "beam"]
    assert "temporal.name" not in found["configurations"]
    answer = vsr(f"report {folder}")
    assert answer.out.strip() == str(folder / "report.html")
    assert (folder / "report.md").read_text().startswith("# mine, test-beam-beams3: test split\n")
    assert "test-beam-beams3" in vsr(f"runs show {evaluated}").out


def test_an_evaluation_by_minimum_bayes_risk_records_all_its_options_and_can_be_repeated(vsr, evaluated):
    data = json.loads((evaluated / "evaluations/test/result.json").read_text())["data"]
    options = {"samples": 3, "utility": "embedding", "context_weight": 0.5, "context_candidates": True, "top_p": 0.9}
    words = " ".join(f"--set decoding.{name}={value}" for name, value in options.items())
    result = json.loads(vsr(f"evaluate --data {data} --metrics bleu --decoding mbr {words} --json").out)
    sampling = {"temperature": 1.0, "top_k": 0, "seed": 0, "no_repeat_ngram": 0}
    assert result["decoding"] == {"method": "mbr", **sampling, **options}
    assert all(f"|decoding.{name}:{value}|" in result["signature"] for name, value in options.items())

    changed = "top_p0.9-samples3-utilityembedding-context_weight0.5-context_candidatesTrue"
    stored = read_stored(evaluated, evaluated / f"evaluations/test-mbr-{changed}")
    assert json.loads(vsr(stored.command.removeprefix("vsr ") + " --json").out) == result


def test_compare_and_score_as_they_are_typed(vsr, evaluated):
    data = json.loads((evaluated / "evaluations/test/result.json").read_text())["data"]
    lines = (evaluated / "evaluations/test/predictions.jsonl").read_text().splitlines()
    theirs = [
        {"story": line["story"], "window": line["start"], "text": line["prediction"]} for line in map(json.loads, lines)
    ]
    Path("theirs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in theirs))

    answer = vsr(f"score theirs.jsonl --data {data} --metrics bleu mse")
    assert answer.code == 0, answer.err
    assert answer.out.startswith("# theirs: test split")
    assert "mse is unavailable" in answer.out
    result = json.loads(vsr(f"score theirs.jsonl --data {data} --metrics bleu --json").out)
    own = json.loads((evaluated / "evaluations/test/result.json").read_text())
    assert result["metrics"]["bleu"]["value"] == own["metrics"]["bleu"]["value"]
    assert set(result) == {*own, "missing"} - {"checksum"}

    answer = vsr("compare runs/mine scores/theirs")
    assert answer.code == 0, answer.err
    assert "not significant" in answer.out
    assert "mse is not compared" in answer.err
    found = json.loads(vsr("compare runs/mine scores/theirs --json").out)
    assert found["metrics"]["bleu"]["scores"][1]["difference"] == 0

    assert "with --run RUN" in result["metrics"]["bleu"]["baselines"]["nearest-neighbor"]["unavailable"]
    beside = json.loads(vsr(f"score theirs.jsonl --data {data} --metrics bleu --run runs/mine --json").out)
    assert beside["metrics"]["bleu"]["baselines"] == own["metrics"]["bleu"]["baselines"]
    assert beside["leaks"] == own["leaks"]
    assert beside["baselines_from"] == "runs/mine"
    assert "|space.visual:" in beside["signature"]
    settings = Run(Path("runs/mine")).config()
    settings["data"]["image_size"] = 64
    write_json(Path("runs/mine/config.json"), settings)
    (error,) = vsr(f"score theirs.jsonl --data {data} --run runs/mine").errors
    assert "prepared at 32 pixels by stretch, the run was trained at 64" in error

    Path("theirs.jsonl").write_text(json.dumps(theirs[0]) + "\n")
    missing = vsr(f"score theirs.jsonl --data {data}")
    assert missing.code == 2
    assert "windows are missing" in missing.errors[0]
    answer = vsr(f"score theirs.jsonl --data {data} --metrics bleu --allow-missing --out scores/few")
    assert answer.code == 0, answer.err
    assert "3 windows have no prediction and are not scored" in answer.err
    assert "was not scored on the windows of" in vsr("compare runs/mine scores/few").errors[0]


def test_if_no_metric_can_run_that_is_a_mistake_and_what_is_stored_stays(vsr, evaluated):
    data = json.loads((evaluated / "evaluations/test/result.json").read_text())["data"]
    before = (evaluated / "evaluations/test/result.json").read_bytes()
    answer = vsr(f"evaluate --data {data} --metrics bertscore clipscore --json")
    assert (answer.code, answer.out) == (2, "")
    assert [line.partition(":")[0] for line in answer.errors] == ["bertscore", "clipscore"]
    assert (evaluated / "evaluations/test/result.json").read_bytes() == before
    answer = vsr(f"evaluate --data {data} --metrics bertscore bleu")
    assert answer.code == 0
    assert "bertscore" in answer.err
    stored = json.loads((evaluated / "evaluations/test/result.json").read_text())["metrics"]
    assert list(stored) == ["bleu", "mse", "bertscore"]
    Path("theirs.jsonl").write_text('{"story": "0", "window": 0, "text": "A fox."}\n')
    answer = vsr(f"score theirs.jsonl --data {data} --metrics mse --allow-missing")
    assert answer.code == 2
    assert not Path("scores").exists()


def test_terminal_markdown_and_json_agree_that_too_few_stories_have_no_verdict(vsr, evaluated):
    data = json.loads((evaluated / "evaluations/test/result.json").read_text())["data"]
    answer = vsr(f"evaluate --data {data} --metrics bleu mse")
    result = json.loads((evaluated / "evaluations/test/result.json").read_text())
    assert result["stories"] < 6
    found = {baseline.get("verdict") for cell in result["metrics"].values() for baseline in cell["baselines"].values()}
    assert found == {None}
    table = answer.out.partition("below each score")[0]
    assert not set(table) & set("▲▼~")
    assert "too few for intervals and verdicts" in answer.err
    assert vsr("report").code == 0
    folder = evaluated / "evaluations/test"
    for name in ("report.md", "report.html"):
        text = (folder / name).read_text()
        assert "too few for intervals and verdicts" in text
        assert "vsr evaluate --folds 5" in text.replace("&#39;", "'")
    assert '<td class="verdict significantly' not in (folder / "report.html").read_text()
    assert "not tested" in (folder / "report.html").read_text()
    rows = [line for line in (folder / "report.md").read_text().splitlines() if line.startswith("| ")]
    assert not set("".join(rows)) & set("▲▼~")
