"""Cross-validation: every story is scored once, by a model that was not trained on it."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from vsr_cli.api import Decoding, VsrError
from vsr_cli.config.experiment import resolve_metrics
from vsr_cli.data.prepared import open_prepared
from vsr_cli.plugin.discovery import registry
from vsr_cli.runs.results import open_evaluated
from vsr_cli.runs.run import Run
from vsr_cli.training.graceful_shutdown import Interrupted
from vsr_cli.workflows import folds
from vsr_cli.workflows.evaluation import run_evaluate
from vsr_cli.workflows.folds import run_folds
from vsr_cli.workflows.settings import train_config

from ..warm_python import warm_python

METRICS = ("bleu", "cider", "mse", "mrr-text")
SPLITS = ("train", "validation", "test")


@pytest.fixture(autouse=True, scope="module")
def _no_curves():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vsr_cli.workflows.training._draw_curves", lambda run: None)
        yield


@pytest.fixture(scope="module")
def cross_validate(small_data, small_settings):
    """Evaluate in three folds: cross_validate(folder) returns the folder and the result."""

    def run(out: Path, *assignments: str, metrics=METRICS, data=small_data, count=3):
        settings = [*small_settings, "training.epochs=1", *assignments]
        manifest = open_prepared(data).manifest
        config = train_config(registry(), manifest=manifest, preset=None, config=None, flags={}, assignments=settings)
        choices = resolve_metrics(registry(), metrics, [])
        return run_folds(registry(), config, data, count, choices, decoding=Decoding(), out=out)

    return run


@pytest.fixture(scope="module")
def done(cross_validate, tmp_path_factory):
    return cross_validate(tmp_path_factory.mktemp("folds") / "all")


def windows_of(prepared, splits=SPLITS):
    return [
        key
        for split in splits
        for key in zip(prepared.windows(split).stories, prepared.windows(split).starts.tolist(), strict=True)
    ]


def fold_runs(folder):
    return [Run(folder / f"fold-{number}") for number in (1, 2, 3)]


def test_every_window_is_scored_once_by_a_model_that_has_not_seen_its_story(done, small_data):
    folder, result = done
    lines = open_evaluated(folder, "test").predictions()
    leaks = [json.loads(line) for line in (folder / "evaluations/test/leaks.jsonl").read_text().splitlines()]
    everything = windows_of(open_prepared(small_data))
    counted = [(line["story"], line["start"]) for line in [*lines, *leaks]]
    assert sorted(counted) == sorted(everything)
    assert len(set(counted)) == len(counted)
    assert result["windows"] == len(lines)
    assert result["windows"] + result["leaks"]["left_out"] == len(everything)
    tested = []
    for run in fold_runs(folder):
        data = open_prepared(Path(run.facts()["data"]))
        assert run.config()["data"]["fingerprint"] == data.fingerprint
        held_out = {story for story, _ in windows_of(data, ["test"])}
        assert not held_out & {story for story, _ in windows_of(data, ["train", "validation"])}
        tested += held_out
    assert sorted(tested) == sorted({story for story, _ in everything})


def test_predictions_and_baselines_equal_those_of_each_fold_alone(done):
    """The pooled result consists of what `vsr evaluate` computes for each fold's run."""
    folder, result = done
    pooled = open_evaluated(folder, "test")
    row_of = {(line["story"], line["start"]): row for row, line in enumerate(pooled.predictions())}
    texts = {key: pooled.predictions()[row]["prediction"] for key, row in row_of.items()}
    statistics = pooled.statistics()
    seen = 0
    for run in fold_runs(folder):
        run_evaluate(registry(), run, Path(run.facts()["data"]), "test", resolve_metrics(registry(), METRICS, []))
        own = open_evaluated(run.folder, "test")
        lines = own.predictions()
        rows = [row_of[line["story"], line["start"]] for line in lines]
        assert [texts[line["story"], line["start"]] for line in lines] == [line["prediction"] for line in lines]
        for key, values in own.statistics().items():
            if not key.startswith("cider"):  # which weighs words by all references
                np.testing.assert_allclose(statistics[key][rows], values, rtol=1e-6, atol=1e-9, err_msg=key)
        seen += len(lines)
    assert seen == result["windows"]


def test_the_result_has_the_usual_format(done, small_data):
    folder, result = done
    bleu = result["metrics"]["bleu"]
    assert {"copy-last", "best-context", "nearest-neighbor", "mean", "shuffled-context"} <= bleu["baselines"].keys()
    assert all("verdict" in baseline for baseline in bleu["baselines"].values())
    assert bleu["ci95"][0] <= bleu["value"] <= bleu["ci95"][1]
    assert bleu["upper_bound"] is not None
    assert result["folds"] == 3
    assert "|folds:3|" in result["signature"]
    assert result["held_out"]
    assert result["stories"] == 10
    assert any("only 10 stories were scored" in caution for caution in result["cautions"])
    assert not any("--folds" in caution for caution in result["cautions"])
    assert result["teacher_forced"]["tokens"] > 0
    losses = result["teacher_forced"]["losses"]
    assert losses["loss"] == pytest.approx(losses["text"] + losses["image"] + 0.5 * losses["alignment"])
    assert open_evaluated(folder, "test").stale is None


def test_finished_folds_are_reused_and_another_metric_is_added(done, cross_validate, monkeypatch, capsys):
    folder, result = done

    def trains(*of, **more):
        raise AssertionError("a fold is trained again")

    monkeypatch.setattr(folds, "run_train", trains)
    monkeypatch.setattr(folds, "resume_train", trains)
    _, again = cross_validate(folder, metrics=("psnr",))
    assert again["metrics"].keys() == {*METRICS, "psnr"}
    assert {name: again["metrics"][name] for name in METRICS} == result["metrics"]


@pytest.mark.parametrize(
    ("settings", "more", "complaint"),
    [
        (
            ("training.epochs=2",),
            {},
            r"was begun with other config; resume with the same options, or name another --out",
        ),
        ((), {"count": 4}, r"was begun with other folds;"),
    ],
)
def test_a_folder_of_other_settings_is_refused(done, cross_validate, settings, more, complaint):
    with pytest.raises(VsrError, match=complaint):
        cross_validate(done[0], *settings, **more)


def test_a_folder_with_other_files_is_refused(cross_validate, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(VsrError, match=r"^--out .*: exists and is not empty; name another folder"):
        cross_validate(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def weights(folder):
    return [(run.checkpoint("last") / "model.safetensors").read_bytes() for run in fold_runs(folder)]


def test_an_interrupted_fold_resumes_bit_exactly(done, cross_validate, at_step, tmp_path, monkeypatch):
    """Each fold takes some seven steps, so that the tenth is in the middle of the second one."""
    with monkeypatch.context():
        at_step(10, lambda losses: os.kill(os.getpid(), signal.SIGINT) or losses)
        with pytest.raises(Interrupted):
            cross_validate(tmp_path / "run")
    assert Run(tmp_path / "run" / "fold-1").facts()["status"] == "finished"
    assert Run(tmp_path / "run" / "fold-2").facts()["status"] == "interrupted"
    assert not (tmp_path / "run" / "fold-3").exists()
    first = (tmp_path / "run" / "fold-1" / "run.json").read_bytes()
    _, result = cross_validate(tmp_path / "run")
    assert (tmp_path / "run" / "fold-1" / "run.json").read_bytes() == first
    assert weights(tmp_path / "run") == weights(done[0])
    assert result["metrics"] == done[1]["metrics"]


def typed(data, out, small_settings):
    settings = [*small_settings, "training.epochs=1", "training.checkpoint_minutes=0"]
    words = [item for setting in settings for item in ("--set", setting)]
    return [*warm_python(), "-m", "vsr_cli", "evaluate", "--folds", "3", "--data", data, "--out", out, *words]


@pytest.mark.slow
def test_a_killed_command_resumes(done, small_data, small_settings, tmp_path):
    """Kill it without time to clean up, while the second fold trains."""
    command = list(map(str, typed(small_data, tmp_path / "run", small_settings)))
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    reached = tmp_path / "run" / "fold-2" / "checkpoints" / "last" / "model.safetensors"
    until = time.monotonic() + 300
    while not reached.exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "it came to its end before it was killed"
    finished = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert f"{tmp_path / 'run' / 'fold-1'} is trained" in finished.stderr
    result = json.loads(finished.stdout)
    assert result["windows"] == done[1]["windows"]
    assert result["metrics"]["bleu"]["value"] == done[1]["metrics"]["bleu"]["value"]
    assert weights(tmp_path / "run") == weights(done[0])
