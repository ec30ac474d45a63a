"""Metrics that can run on the references, and their ranges."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from vsr_cli.api import Decoding, VsrError
from vsr_cli.config.experiment import resolve_metrics
from vsr_cli.data.prepared import open_prepared
from vsr_cli.evaluation.evaluate import evaluate
from vsr_cli.evaluation.model_predictions import Part
from vsr_cli.evaluation.normalize import clean_text
from vsr_cli.evaluation.predictions import load_mentions
from vsr_cli.evaluation.scoring import build_metrics, check_available, open_task, upper_bound_caution
from vsr_cli.evaluation.significance import (
    score_range,
)
from vsr_cli.model.weights import load_model
from vsr_cli.plugin.discovery import registry
from vsr_cli.workflows.preparation import run_prepare
from vsr_cli.workflows.stories import prepare_config


def choices(*names: str):
    return resolve_metrics(registry(), names, [])


def test_mentions_are_those_of_the_windows_own_frames(small_data: Path) -> None:
    prepared = open_prepared(small_data)
    windows = prepared.windows("train")
    mentions = load_mentions(prepared, windows)
    assert [len(frames) for frames in mentions] == [5] * len(windows)
    for frames, rows in zip(mentions, windows.text_rows.tolist(), strict=True):
        for found, row in zip(frames, rows, strict=True):
            text = clean_text(prepared.frames.texts[row])
            assert found
            assert all(mention.text in text for mention in found)


def test_entities_are_scored_beside_baselines_and_upper_bound(small_data: Path, train_small, tmp_path: Path) -> None:
    run = train_small(tmp_path / "run", "training.epochs=1")
    prepared = open_prepared(small_data)
    found = evaluate(
        [Part(prepared, prepared, lambda: load_model(run, registry()))],
        prepared,
        "test",
        choices("entity-f1"),
        decoding=Decoding(),
        device=torch.device("cpu"),
    )
    cell = found.result["metrics"]["entity-f1"]
    assert cell["upper_bound"] > 0.7  # the target names some by pronouns
    assert 0 < cell["baselines"]["copy-last"]["value"] < cell["upper_bound"]
    assert set(cell["components"]) == {"entity-f1-precision", "entity-f1-recall"}


@pytest.fixture
def unmarked(tmp_path: Path):
    """Prepare one story of five pairs, in which nobody has marked anything."""
    for number in range(1, 6):
        folder = tmp_path / "stories" / "kite"
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), (40 * number, 0, 0)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"Mara flies the kite, hour {number}.")
    settings = ["data.image_size=32", "data.split=test"]
    config = prepare_config(registry(), dataset="folder", preset="tiny", flags={}, assignments=settings)
    return run_prepare(config, str(tmp_path / "stories"), tmp_path / "data")


def test_without_annotations_the_metric_is_unavailable_with_a_remedy(unmarked) -> None:
    task = open_task(unmarked, "test", unmarked.windows("test"), choices("entity-f1", "mse"))
    assert list(task.metrics) == ["mse"]
    assert "marks no entities; prepare stories that do" in task.unavailable["entity-f1"]


def test_a_metric_of_one_dataset_is_unavailable_on_other_data(unmarked, small_data) -> None:
    names = ("place", "time", "characters")
    task = open_task(unmarked, "test", unmarked.windows("test"), choices(*names, "mse"))
    assert list(task.metrics) == ["mse"]
    assert task.unavailable["place"] == (
        "place: is defined for images of storyworld only (got data of folder); leave it out"
    )
    own = open_prepared(small_data)
    assert list(open_task(own, "test", own.windows("test"), choices(*names)).metrics) == list(names)


def test_mentions_are_loaded_only_for_a_metric_that_reads_them(unmarked) -> None:
    assert open_task(unmarked, "test", unmarked.windows("test"), choices("mse")).references.mentions is None


RANGES = {
    "bleu": (0, 100), "bleu-lower": (0, 100), "rouge": (0, 1), "meteor": (0, 1), "chrf": (0, 100), "cider": (0, 10),
    "distinct-1": (0, 1),
    "distinct-2": (0, 1), "entity-f1": (0, 1), "rep-4": (0, 1), "context-overlap-4": (0, 1), "mse": (0, 1),
    "psnr": (0, 100), "ssim": (-1, 1), "sharpness": (0, np.inf), "diversity-image": (0, np.inf),
    "cosine-image": (-1, 1),
    "cosine-text": (-1, 1), "mrr-image": (0, 1), "mrr-text": (0, 1), "bertscore": (-1, 1), "clipscore": (0, 2.5),
    "lpips": (0, np.inf), "place": (0, 1), "time": (0, 1), "characters": (0, 1),
    "frechet-visual": (0, np.inf), "fid": (0, np.inf), "context-similarity": (0, np.inf), "clip-image": (-1, 1),
}  # fmt: skip


def test_every_metric_states_its_range():
    built, unavailable = build_metrics(resolve_metrics(registry(), registry().names("metrics"), []))
    assert {name: score_range(metric) for name, metric in built.items()} == {name: RANGES[name] for name in built}
    assert len(built) + len(unavailable) == len(RANGES)
    assert len(built) > 15


def test_if_no_metric_can_run_the_error_has_all_reasons():
    check_available({"mean": object()}, {"other": "other: lacks a word list; get it"})
    with pytest.raises(VsrError, match=r"^one: lacks a; get it\ntwo: lacks b; get it$"):
        check_available({}, {"one": "one: lacks a; get it", "two": "two: lacks b; get it"})


def test_only_a_bound_that_is_far_from_the_highest_score_is_warned_of() -> None:
    metric = SimpleNamespace(perfect=100.0)
    assert upper_bound_caution("m", metric, 90.5) is None
    assert upper_bound_caution("m", metric, None) is None
    assert upper_bound_caution("m", SimpleNamespace(), 0.0) is None
    assert "only 89 of 100" in str(upper_bound_caution("m", metric, 89.0))
