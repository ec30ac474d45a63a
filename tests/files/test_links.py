"""Writing and deleting never follow a link out of a folder."""

import os
import shutil
from pathlib import Path

import pytest

from vsr_cli.api import Decoding
from vsr_cli.cli.predict import run_predict
from vsr_cli.cli.report import run_report
from vsr_cli.config.experiment import resolve_metrics
from vsr_cli.data.cache.maintenance import list_feature_sets, prune, remove_damaged
from vsr_cli.errors import VsrError
from vsr_cli.files.links import refuse_links
from vsr_cli.model.weights import load_model
from vsr_cli.plugin.discovery import registry
from vsr_cli.runs.results import lock_evaluation
from vsr_cli.runs.run import Run
from vsr_cli.workflows.evaluation import run_evaluate
from vsr_cli.workflows.preparation import run_prepare
from vsr_cli.workflows.stories import prepare_config
from vsr_cli.workflows.training import resume_train


@pytest.fixture(scope="module")
def run(train_small, small_data, tmp_path_factory) -> Run:
    made = train_small(tmp_path_factory.mktemp("linked") / "run", "training.epochs=1")
    run_evaluate(registry(), made, small_data, "validation", resolve_metrics(registry(), ["bleu"], []))
    return made


def contents(folder: Path) -> dict[str, object]:
    """Return every entry below a folder: the bytes of files, the targets of links."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        found[name] = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else None
    return found


def moved_out(folder: Path, name: str, outside: Path) -> None:
    """Put a link in the place of something in a folder, to where it now is."""
    outside.mkdir()
    shutil.move(folder / name, outside / "target")
    (folder / name).symlink_to(outside / "target")


def refused(act, link: Path, root: Path) -> None:
    """See that an act is refused with one line that names the link, and changes nothing."""
    before = contents(root)
    with pytest.raises(VsrError, match="is a link") as raised:
        act()
    assert str(raised.value).startswith(f"{link}: ")
    assert "\n" not in str(raised.value)
    assert contents(root) == before


RUN_PARTS = (
    *("config.json", "run.json", "history.jsonl", "frozen.safetensors", "assets", "assets/text", "checkpoints"),
    *("checkpoints/last", "checkpoints/last/state.json", "evaluations", "evaluations/validation"),
)


@pytest.mark.parametrize("name", RUN_PARTS)
def test_link_in_a_run_is_refused_before_training(run, tmp_path, name):
    shutil.copytree(run.folder, tmp_path / "run")
    moved_out(tmp_path / "run", name, tmp_path / "outside")
    refused(lambda: resume_train(registry(), tmp_path / "run", data=None, epochs=2), tmp_path / "run" / name, tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        *("run.json", "config.json", "history.jsonl", "frozen.safetensors", "checkpoints/best/checksums.json"),
        *("checkpoints/best/model.safetensors", "evaluations/validation/predictions.jsonl"),
    ],
)
def test_named_pipe_in_a_run_is_one_line(run, small_data, tmp_path, name):
    copy = Run(Path(shutil.copytree(run.folder, tmp_path / "run")))
    path = copy.folder / name
    path.unlink()
    os.mkfifo(path)
    evaluation = name.startswith(("evaluations", "history"))
    with pytest.raises(VsrError, match="is not a regular file") as raised:
        run_report(copy.folder, small_data, "validation", most=1) if evaluation else load_model(copy, registry())
    assert str(raised.value).startswith(f"{path}: ")
    with pytest.raises(VsrError, match="is not a regular file"):
        resume_train(registry(), copy.folder, data=None, epochs=2)


@pytest.mark.parametrize("name", ["evaluations", "evaluations/validation", "evaluations/validation/predictions"])
def test_link_among_evaluations_is_refused(run, small_data, tmp_path, name):
    shutil.copytree(run.folder, tmp_path / "run")
    moved_out(tmp_path / "run", name, tmp_path / "outside")
    link, copy = tmp_path / "run" / name, Run(tmp_path / "run")
    refused(lambda: run_evaluate(registry(), copy, small_data, "validation", []), link, tmp_path)
    if name != "evaluations/validation/predictions":
        refused(lambda: run_report(copy.folder, small_data, "validation", most=1), link, tmp_path)


def test_dangling_link_is_refused(tmp_path):
    (tmp_path / "evaluations").symlink_to(tmp_path / "absent")

    def act() -> None:
        with lock_evaluation(tmp_path / "evaluations" / "test"):
            raise AssertionError("it went on")

    refused(act, tmp_path / "evaluations", tmp_path)


@pytest.mark.parametrize("name", ["predictions", "predictions/story"])
def test_link_in_place_of_a_prediction_is_refused(run, tmp_path, name):
    from PIL import Image

    story = tmp_path / "story"
    story.mkdir()
    for number in range(1, 5):
        Image.new("RGB", (8, 8)).save(story / f"{number}.jpg")
        (story / f"{number}.txt").write_text("A text.")
    shutil.copytree(run.folder, tmp_path / "run")
    (tmp_path / "run" / "predictions" / "story").mkdir(parents=True)
    moved_out(tmp_path / "run", name, tmp_path / "outside")
    copy = Run(tmp_path / "run")
    refused(
        lambda: run_predict(registry(), copy, [story], None, decoding=Decoding(), as_json=True),
        copy.folder / name,
        tmp_path,
    )


@pytest.mark.parametrize("name", ["manifest.json", "problems.jsonl", "chunks", "tables", "one chunk"])
def test_link_in_prepared_data_is_refused(small_data, tmp_path, name):
    shutil.copytree(small_data, tmp_path / "data")
    if name == "tables":
        name = next((tmp_path / "data").glob("tables-*")).name
    if name == "one chunk":
        name = str(next((tmp_path / "data" / "chunks").iterdir()).relative_to(tmp_path / "data"))
    moved_out(tmp_path / "data", name, tmp_path / "outside")
    config = prepare_config(
        registry(), dataset="storyworld", preset="tiny", flags={}, assignments=["dataset.stories=5"]
    )
    refused(lambda: run_prepare(config, None, tmp_path / "data"), tmp_path / "data" / name, tmp_path)


@pytest.mark.parametrize("name", ["features", "features/visual-x", "features/visual-x/a.safetensors"])
def test_link_in_the_cache_is_refused_when_removing(tmp_path, monkeypatch, name):
    monkeypatch.setenv("VSR_CACHE", str(tmp_path / "cache"))
    kept = tmp_path / "cache" / "features" / "visual-x"
    kept.mkdir(parents=True)
    (kept / "a.safetensors").touch()
    moved_out(tmp_path / "cache", name, tmp_path / "outside")
    link = tmp_path / "cache" / name
    refused(lambda: prune(unused_days=None, to_bytes=0), link, tmp_path)
    refused(lambda: remove_damaged(list_feature_sets()[0]), link, tmp_path)


def test_linked_folder_and_other_files_are_accepted(tmp_path):
    (tmp_path / "disk" / "wandb").mkdir(parents=True)
    (tmp_path / "disk" / "wandb" / "latest-run").symlink_to(tmp_path)
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    Run(tmp_path / "run").refuse_links()
    refuse_links(tmp_path / "run", ["*"], below=False)
    with pytest.raises(VsrError, match="latest-run"):
        refuse_links(tmp_path / "run", ["*"])


def test_run_under_a_link_trains_and_resumes(train_small, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "runs").symlink_to(tmp_path / "disk")
    (tmp_path / "out").symlink_to(tmp_path / "disk" / "run")
    (tmp_path / "disk" / "run").mkdir()
    made = train_small(tmp_path / "out", "training.epochs=1")
    resume_train(registry(), tmp_path / "runs" / "run", data=None, epochs=2)
    assert made.facts()["status"] == "finished"


def test_hard_linked_copy_is_not_changed(run, tmp_path):
    shutil.copytree(run.folder, tmp_path / "run", copy_function=lambda one, other: Path(other).hardlink_to(one))
    before = contents(run.folder)
    resume_train(registry(), tmp_path / "run", data=None, epochs=2)
    assert contents(run.folder) == before
    assert len((tmp_path / "run" / "history.jsonl").read_text().splitlines()) == 2
