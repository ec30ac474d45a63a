"""The facts about the scored model in both reports."""

import re

from vsr_cli.cli.report import run_report
from vsr_cli.data.prepared import open_prepared
from vsr_cli.files.atomic import read_json, write_json
from vsr_cli.runs.run import FORMAT

from ..written_evaluation import seal

RUN_FACTS = {
    "format": FORMAT,
    "status": "finished",
    "started": "2026-11-29T16:17:18.000001+00:00",
    "ended": "2026-11-29T17:01:02.000001+00:00",
    "argv": ["/bin/vsr", "train", "--out", "runs/my run"],
    "seed": 7,
    "data": "data",
    "device": "cpu",
    "precision": "fp32",
    "versions": {"vsr": "0.1.0", "torch": "2.15.0"},
    "parameters": {"trained": 1234567, "frozen": 10},
}
RUN_CONFIG = {
    "preset": "laptop",
    "visual": {"name": "mobilenet_v2", "weights": "imagenet", "frozen": "all", "crop": False, "style": True},
    "temporal": {"name": "gru", "layers": 2, "dropout": 0.0},
    "text_decoder": {"name": "someone-elses", "depth": 3},
    "model": {"width": 128},
    "objective": {"text": 1.0, "image": 1.0, "l1": 0.0, "perceptual_network": "vgg16"},
    "training": {"epochs": 6, "batch_size": 32, "learning_rate": 1e-3, "best_metric": "loss"},
}


def test_both_reports_describe_the_model_its_training_and_the_data(run, data):
    write_json(run / "run.json", RUN_FACTS)
    write_json(run / "config.json", RUN_CONFIG)
    path = run / "evaluations/test/result.json"
    scored = {"checkpoint": "0123456789abcdef", "decoding": {"method": "beam", "beams": 4}}
    write_json(path, read_json(path, what="a result") | scored)
    seal(path.parent)
    fingerprint = open_prepared(data).fingerprint[:16]
    page, text = (path.read_text() for path in run_report(run, None, "test", most=6))
    shown = dict(
        re.findall(r"<dt>([^<]*)</dt><dd>([^<]*)</dd>", page.partition('id="about"')[2].partition("</section>")[0])
    )
    expected = {
        "visual encoder": "mobilenet_v2 (style=true)",
        "temporal model": "gru (layers=2)",
        "text decoder": "someone-elses (depth=3)",
        "losses": "text 1, image 1",
        "parameters": "1,234,567 trained, 10 frozen",
        "decoding": "beam, beams 4",
        "preset": "laptop",
        "epochs": "3 of 6, best 3 by validation loss (1.0667)",
        "random seed": "7",
        "date": "2026-11-29 16:17 to 2026-11-29 17:01",
        "command": "vsr train --out &#39;runs/my run&#39;",
        "versions": "vsr 0.1.0, torch 2.15.0",
        "dataset": "storyworld",
        "fingerprint": fingerprint,
    }
    assert {key: shown.get(key) for key in expected} == expected
    assert "0123456789abcdef" in shown["checkpoint"]
    assert " test" in shown["stories"]
    for line in ("- random seed: 7", "- preset: laptop", f"- fingerprint: {fingerprint}", "- losses: text 1, image 1"):
        assert line in text.splitlines()


def test_external_predictions_are_reported_without_a_model(run):
    (run / "config.json").unlink()
    page, text = (path.read_text() for path in run_report(run, None, "test", most=6))
    assert "<dt>dataset</dt><dd>storyworld</dd>" in page
    assert "<dt>visual encoder</dt>" not in page
    assert "**training**" not in text
