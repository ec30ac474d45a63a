from pathlib import Path

import pytest
import torch
from PIL import Image

from vsr_cli.api import Decoding
from vsr_cli.cli.prepare import prepare_config, run_prepare
from vsr_cli.config.experiment import resolve_metrics
from vsr_cli.data.prepared import open_prepared
from vsr_cli.evaluation.evaluate import evaluate
from vsr_cli.evaluation.normalize import clean_text
from vsr_cli.evaluation.scoring import build_metrics, part_by_mentions
from vsr_cli.evaluation.series import read_mentions, read_truth
from vsr_cli.model.weights import load_model
from vsr_cli.plugin.discovery import registry


def choices(*names: str):
    return resolve_metrics(registry(), names, [])


def test_mentions_are_those_of_the_windows_own_frames(small_data: Path) -> None:
    prepared = open_prepared(small_data)
    windows = prepared.windows("train")
    mentions = read_mentions(prepared, windows)
    assert [len(frames) for frames in mentions] == [5] * len(windows)
    for frames, rows in zip(mentions, windows.text_rows.tolist(), strict=True):
        for found, row in zip(frames, rows, strict=True):
            text = clean_text(prepared.frames.texts[row])
            assert found
            assert all(mention.text in text for mention in found)


def test_entities_are_scored_beside_baselines_and_upper_bound(small_data: Path, train_small, tmp_path: Path) -> None:
    run = train_small(tmp_path / "run", "training.epochs=1")
    found = evaluate(
        load_model(run, registry()),
        open_prepared(small_data),
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
    windows = unmarked.windows("test")
    truth = read_truth(unmarked.frames, windows)
    metrics, _ = build_metrics(choices("entity-f1", "mse"))
    usable, unavailable, _ = part_by_mentions(metrics, unmarked, windows, truth)
    assert list(usable) == ["mse"]
    assert "marks no entities; prepare stories that do" in unavailable["entity-f1"]


def test_mentions_are_not_read_unless_a_metric_needs_them(unmarked) -> None:
    windows = unmarked.windows("test")
    truth = read_truth(unmarked.frames, windows)
    assert part_by_mentions(build_metrics(choices("mse"))[0], unmarked, windows, truth)[2] is truth
