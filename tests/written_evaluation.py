"""A hand-written evaluation of three stories, in the format of docs/explanation/evaluation.md."""

import json

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from vsr_cli.config.experiment import resolve_metrics
from vsr_cli.data.prepared import open_prepared
from vsr_cli.evaluation.scoring import build_metrics
from vsr_cli.files.atomic import write_json
from vsr_cli.files.checksums import write_checksums
from vsr_cli.plugin.discovery import registry
from vsr_cli.runs.results import FORMAT
from vsr_cli.runs.run import Run
from vsr_cli.workflows.preparation import run_prepare
from vsr_cli.workflows.stories import prepare_config

FOLDER = "evaluations/test"
HOSTILE = "<script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\"> & `tick` | pipe"


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Twelve generated stories, all in the test split, with several windows each."""
    made = ["dataset.stories=12", "dataset.width=96", "dataset.height=48", "data.image_size=32", "data.split=test"]
    config = prepare_config(
        registry(), dataset="storyworld", preset="tiny", flags={}, assignments=[*made, "data.window=sliding"]
    )
    return run_prepare(config, None, tmp_path_factory.mktemp("data") / "storyworld").folder


def unigram_statistics(good):
    """Statistics in the format of bleu: of eight words, how many are right, in every length of n-gram."""
    rows = np.zeros((len(good), 10))
    for row, right in zip(rows, good, strict=True):
        row[:] = [8, 8, right, max(right - 1, 0), max(right - 2, 0), max(right - 3, 0), 8, 7, 6, 5]
    return rows


def seal(folder):
    """Write the checksums of an evaluation's files as they are now."""
    write_checksums(folder, (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()))


def write_evaluation(run, data, *, seed=0, skill=4):
    """Write an evaluation of made-up predictions; a higher skill scores better."""
    windows = open_prepared(data).windows("test")
    texts = open_prepared(data).frames.texts
    folder = run / "evaluations" / "test"
    (folder / "predictions").mkdir(parents=True)
    random = np.random.default_rng(seed)
    right = np.clip(skill + random.integers(-1, 2, len(windows)), 0, 8)
    error = 0.05 + 0.02 * random.random((len(windows), 1)) - skill / 200
    with (folder / "predictions.jsonl").open("w") as lines:
        for row, story in enumerate(windows.stories):
            start = int(windows.starts[row])
            line = {
                "story": story,
                "start": start,
                "context": [start + k for k in range(1, 5)],
                "prediction": f"The zebra z{row}z sings." if row else HOSTILE,
                "reference": texts[windows.text_rows[row, 4]],
                "scores": {"bleu": float(right[row]), "mse": float(error[row, 0])},
            }
            lines.write(json.dumps(line) + "\n")
            Image.new("RGB", (32, 32), (row * 3 % 256, 90, 90)).save(folder / "predictions" / f"{row:04d}.jpg")
    statistics = {
        "bleu/model": unigram_statistics(right),
        "bleu/copy-last": unigram_statistics(np.full(len(windows), 3)),
        "mse/model": error,
        "mse/copy-last": np.full((len(windows), 1), 0.055),
    }
    save_file(statistics, folder / "statistics.safetensors")
    facts = f"split:test|stories:12|windows:{len(windows)}|data:{open_prepared(data).fingerprint[:12]}"
    baseline = {"value": 3.0, "difference": 1.0, "ci95": [0.5, 1.5], "verdict": "significantly better"}
    result = {
        "format": FORMAT,
        "run": str(run),
        "data": str(data),
        "signature": facts,
        "checkpoint": None,
        "split": "test",
        "held_out": True,
        "stories": 12,
        "windows": len(windows),
        "cautions": ["only 12 stories were scored; take more"],
        "truncated_references": 0.25,
        "copied": {
            "model": {"repeats_context": 0.25, "context-overlap-4": 0.375},
            "references": {"repeats_context": 0.0, "context-overlap-4": 0.0123},
        },
        "leaks": {"target_text_in_context": 0, "padded": 2, "left_out": 2},
        "metrics": {
            "bleu": {
                "value": 4.0,
                "ci95": [3.5, 4.5],
                "scale": "0-100, higher is better",
                "better": "higher",
                "signature": f"metric:bleu|nrefs:1|{facts}",
                "components": {"bleu-brevity-penalty": 1.0, "bleu-odd": None},
                "baselines": {
                    "copy-last": baseline,
                    "nearest-neighbor": {"unavailable": "nearest-neighbor: no training data"},
                },
                "upper_bound": 100.0,
            },
            "mse": {
                "value": 0.04,
                "ci95": None,
                "scale": "0-1, lower is better",
                "better": "lower",
                "signature": f"metric:mse|pixels:0-1|{facts}",
                "components": {},
                "baselines": {"copy-last": {"value": 0.05, "difference": -0.01, "ci95": None, "verdict": None}},
                "upper_bound": None,
            },
            "meteor": {"unavailable": "meteor: WordNet was not found; install it"},
        },
        "teacher_forced": {
            "losses": {"loss": 2.5, "text": 1.5},
            "perplexity": 4.48,
            "perplexity_per_word": 6.2,
            "words": 80,
            "tokens": 90,
            "signature": "mode:teacher-forced",
        },
    }
    write_json(folder / "result.json", result)
    seal(folder)
    facts = {"learning_rate": 1e-3, "windows_per_second": 50.0, "seconds": 2.0}
    for n in (1, 2, 3):
        losses = {"train": {"loss": 3 / n}, "validation": {"loss": 3.2 / n}}
        Run(run).append_history({"epoch": n, "steps": n, **losses, **facts})
    write_json(run / "config.json", {"temporal": {"name": "gru"}, "training": {"seed": seed}})
    return run


def settle(run):
    """Write the scores of an evaluation's statistics into its result, as `vsr evaluate` does, and return the run."""
    result = json.loads((run / FOLDER / "result.json").read_text())
    metrics, _ = build_metrics(resolve_metrics(registry(), ["bleu", "mse"], []))
    statistics = load_file(run / FOLDER / "statistics.safetensors")
    for name, metric in metrics.items():
        result["metrics"][name]["value"] = metric.combine(statistics[f"{name}/model"])[name]
    write_json(run / FOLDER / "result.json", result)
    seal(run / FOLDER)
    return run


@pytest.fixture
def run(tmp_path, data):
    return write_evaluation(tmp_path / "a <i>run", data)


@pytest.fixture
def write(data):
    """Write another evaluation on the same windows: write(folder, seed=1, skill=6)."""
    return lambda folder, **of: write_evaluation(folder, data, **of)
