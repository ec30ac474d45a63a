"""`vsr compare` and `vsr score` on a run that was evaluated."""

import json
from pathlib import Path

from vsr_cli.files.atomic import write_json
from vsr_cli.runs.run import Run


def test_compare_and_score(vsr, evaluated):
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
    assert "not significant" not in answer.out, "one story is not tested"
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
    assert "not scored: 3 windows without a prediction" in answer.err
    assert "was not scored on the windows of" in vsr("compare runs/mine scores/few").errors[0]
