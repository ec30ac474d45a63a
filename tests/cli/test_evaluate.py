"""`vsr evaluate` on the run that `vsr train` made."""

import json
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from vsr_cli.files.atomic import read_json
from vsr_cli.runs.results import read_stored


@pytest.mark.parametrize("words", ["bleu rouge meteor", "bleu,rouge --metrics meteor"])
def test_evaluate_takes_metrics_with_spaces_commas_or_repeats(workspace, vsr, words):
    answer = vsr(f"evaluate --metrics {words} --json")
    assert answer.code == 0, answer.err
    result = json.loads(answer.out)
    assert list(result["metrics"]) == ["bleu", "bleu-lower", "rouge", "meteor"]
    assert result["split"] == "test"
    assert all({"value", "scale", "baselines"} <= score.keys() for score in result["metrics"].values())


def test_by_default_images_are_scored_beside_texts_and_read_where_they_are_of_storyworld(workspace, vsr):
    result = json.loads(vsr("evaluate --json").out)
    texts = ["bleu", "bleu-lower", "rouge", "meteor"]
    assert list(result["metrics"])[:8] == [*texts, "mse", "ssim", "sharpness", "diversity-image"]
    assert list(result["metrics"])[8:] == ["place", "time", "characters"]
    assert all(score["upper_bound"] == 1 for name, score in result["metrics"].items() if name in ("place", "time"))
    assert set(result["copied"]["model"]) == {"repeats_context", "context-overlap-4", "image_repeats_context"}


def test_evaluate_prints_a_table_and_stores_the_result(workspace, vsr):
    answer = vsr("evaluate --metrics bleu")
    assert answer.code == 0, answer.err
    assert "bleu" in answer.out
    assert "copy-last" in answer.out
    assert "predicted texts that repeat a text of their context: " in answer.out
    (run,) = (workspace / "runs").iterdir()
    kept = run / "evaluations/test"
    assert "bleu" in json.loads((kept / "result.json").read_text())["metrics"]
    assert (kept / "predictions.jsonl").read_text()
    Image.open(kept / "storyboards.png").load()


def test_evaluate_uses_the_data_of_the_run(workspace, vsr, tmp_path):
    newer = workspace / "data/newer"
    shutil.copytree(workspace / "data/storyworld", newer)
    try:
        os.utime(newer / "manifest.json")
        by_default = json.loads(vsr("evaluate --metrics bleu --json").out)
        named = json.loads(vsr("evaluate --metrics bleu --data data/newer --json").out)
    finally:
        shutil.rmtree(newer)
    assert by_default["data"] == str(workspace / "data/storyworld")
    assert named["data"] == str(newer)
    assert named["metrics"] == by_default["metrics"]


def test_evaluate_train_split_needs_allow_train(workspace, vsr):
    refused = vsr("evaluate --split train --metrics bleu")
    assert refused.code == 2
    assert "--allow-train" in refused.errors[0]
    assert vsr("evaluate --split train --metrics bleu --allow-train --json").code == 0


@pytest.mark.slow
def test_all_metrics_have_a_value_or_are_unavailable(workspace, vsr):
    answer = vsr("evaluate --metrics all --json")
    assert answer.code == 0
    cells = json.loads(answer.out)["metrics"]
    components = json.loads(vsr("plugins list --json").out)["components"]
    installed = {component["name"] for component in components if component["kind"] == "metrics"}
    assert cells.keys() == installed
    for name, cell in cells.items():
        assert ("unavailable" in cell) != ("value" in cell), name


def test_decodings_are_stored_apart_and_can_be_compared(vsr, evaluated):
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


def test_evaluate_without_available_metric_keeps_the_stored_result(vsr, evaluated):
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
    assert list(stored) == ["bleu", "bleu-lower", "mse", "bertscore"]
    Path("theirs.jsonl").write_text('{"story": "0", "window": 0, "text": "A fox."}\n')
    answer = vsr(f"score theirs.jsonl --data {data} --metrics mse --allow-missing")
    assert answer.code == 2
    assert not Path("scores").exists()


def test_few_stories_have_no_verdict_in_any_output(vsr, evaluated):
    data = json.loads((evaluated / "evaluations/test/result.json").read_text())["data"]
    answer = vsr(f"evaluate --data {data} --metrics bleu mse")
    result = json.loads((evaluated / "evaluations/test/result.json").read_text())
    assert result["stories"] < 6
    found = {baseline.get("verdict") for cell in result["metrics"].values() for baseline in cell["baselines"].values()}
    assert found == {None}
    assert not set(answer.out) & set("▲▼~–")
    assert "interval" not in answer.out
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


def test_mbr_evaluation_records_its_options_and_can_be_repeated(vsr, evaluated):
    data = json.loads((evaluated / "evaluations/test/result.json").read_text())["data"]
    options = {"samples": 3, "utility": "embedding", "context_weight": 0.5, "context_candidates": True, "top_p": 0.9}
    words = " ".join(f"--set decoding.{name}={value}" for name, value in options.items())
    result = json.loads(vsr(f"evaluate --data {data} --metrics bleu --decoding mbr {words} --json").out)
    sampling = {"temperature": 1.0, "top_k": 0, "seed": 0, "no_repeat_ngram": 0}
    assert result["decoding"] == {"method": "mbr", **sampling, **options}
    assert all(f"|decoding.{name}:{value}|" in result["signature"] for name, value in options.items())

    changed = "top_p0.9-samples3-utilityembedding-context_weight0.5-context_candidatestrue"
    stored = read_stored(evaluated, evaluated / f"evaluations/test-mbr-{changed}")
    assert json.loads(vsr(stored.command.removeprefix("vsr ") + " --json").out) == result
